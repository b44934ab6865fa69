//! What takes fedimint-gateway much processor time in Python.

use pyo3::prelude::*;

#[pymodule(submodule)]
pub mod accel {
    use fedimint_gateway_accel::background::{self, Failed};
    use fedimint_gateway_accel::tweaks::{self, FILTER_SIZE, TWEAK_SIZE};
    use pyo3::exceptions::PyValueError;
    use pyo3::prelude::*;

    use crate::NativeError;
    #[pymodule_export]
    use crate::points::{PyG1, PyG2, multiply_sum_g1, pairing_check, point_of_g1, point_of_g2};

    /// The first of so many tweaks from `start` upwards that meets the filter, or None.
    ///
    /// As `fedimint.mintv2.tweaks.find`, without Python's lock and, on Linux, at the lowest priority. Raises
    /// `ValueError` for wrong sizes, `OverflowError` for tries that 32 bits do not hold, and `NativeError`.
    #[pyfunction]
    fn find_tweak(
        py: Python<'_>,
        tweak_filter: &[u8],
        start: &[u8],
        tries: u32,
    ) -> PyResult<Option<[u8; TWEAK_SIZE]>> {
        let find = search(tweak_filter, start, tries)?;
        native(py.detach(|| background::run(find)))
    }

    /// As `find_tweak`, but at the priority of the caller: somebody waits for it.
    #[pyfunction]
    fn find_tweak_now(
        py: Python<'_>,
        tweak_filter: &[u8],
        start: &[u8],
        tries: u32,
    ) -> PyResult<Option<[u8; TWEAK_SIZE]>> {
        let find = search(tweak_filter, start, tries)?;
        native(py.detach(|| background::caught(find)))
    }

    /// What is to be run without Python's lock.
    fn search(
        tweak_filter: &[u8],
        start: &[u8],
        tries: u32,
    ) -> PyResult<impl FnOnce() -> Option<[u8; TWEAK_SIZE]> + Send> {
        let (Ok(tweak_filter), Ok(start)) = (tweak_filter.try_into(), start.try_into()) else {
            return Err(PyValueError::new_err(format!(
                "a tweak filter has {FILTER_SIZE} bytes, a start {TWEAK_SIZE}"
            )));
        };
        Ok(move || tweaks::find(tweak_filter, start, tries))
    }

    fn native<T>(outcome: Result<T, Failed>) -> PyResult<T> {
        outcome.map_err(|failed| NativeError::new_err(failed.to_string()))
    }
}
