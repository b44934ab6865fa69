//! The Python module: types in, types out. Every call that takes time releases Python's lock, and no panic leaves it.

use pyo3::prelude::*;

pyo3::create_exception!(
    fedimint_gateway_native,
    NativeError,
    pyo3::exceptions::PyException,
    "The native part failed, by a mistake of its own or for want of a thread. Ask again."
);

#[pymodule]
mod _native {
    #[pymodule_export]
    use super::NativeError;
    #[cfg(feature = "accel")]
    #[pymodule_export]
    use super::accel;
}

#[cfg(feature = "accel")]
#[pymodule(submodule)]
mod accel {
    use fedimint_gateway_accel::background::{self, Failed};
    use fedimint_gateway_accel::tweaks::{self, FILTER_SIZE, TWEAK_SIZE};
    use pyo3::exceptions::PyValueError;
    use pyo3::prelude::*;

    use super::NativeError;

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
        let (Ok(tweak_filter), Ok(start)) = (tweak_filter.try_into(), start.try_into()) else {
            return Err(PyValueError::new_err(format!(
                "a tweak filter has {FILTER_SIZE} bytes, a start {TWEAK_SIZE}"
            )));
        };
        py.detach(|| background::run(|| tweaks::find(tweak_filter, start, tries)))
            .map_err(|failed: Failed| NativeError::new_err(failed.to_string()))
    }
}
