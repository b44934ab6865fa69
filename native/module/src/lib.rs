//! The Python module: types in, types out. Every call that takes time releases Python's lock, and no panic leaves it.

#[cfg(feature = "accel")]
mod accel;
#[cfg(feature = "iroh")]
mod iroh;
#[cfg(feature = "ldk")]
mod ldk;
#[cfg(feature = "accel")]
mod points;

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
    use super::accel::accel;
    #[cfg(feature = "iroh")]
    #[pymodule_export]
    use super::iroh::iroh;
    #[cfg(feature = "ldk")]
    #[pymodule_export]
    use super::ldk::ldk;
}
