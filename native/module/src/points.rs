//! Points of BLS12-381 for Python: classes of the shape that arkworks gives its own, whose scalars they take.

use std::hash::{DefaultHasher, Hash, Hasher};

use fedimint_gateway_accel::background;
use fedimint_gateway_accel::bls::{self, G1, G1_SIZE, G2, G2_SIZE, Group, Scalar};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;

use crate::NativeError;

/// Works without Python's lock. A panic is an error.
fn work<T: Send>(py: Python<'_>, compute: impl FnOnce() -> T + Send) -> PyResult<T> {
    py.detach(|| background::caught(compute))
        .map_err(|_| NativeError::new_err("the arithmetic of BLS12-381 panicked"))
}

/// A scalar of arkworks. Raises `ValueError` when its bytes are none.
fn scalar_of(scalar: &Bound<'_, PyAny>) -> PyResult<Scalar> {
    let bytes = scalar.call_method0(intern!(scalar.py(), "to_le_bytes"))?;
    bls::decode_scalar(bytes.extract()?)
        .ok_or_else(|| PyValueError::new_err("not a canonical scalar"))
}

macro_rules! group_of_points {
    ($Point:ident, $name:literal, $group:ty, $size:expr, $decode:path) => {
        /// A point of the subgroup, by default its generator.
        #[pyclass(frozen, name = $name, module = "fedimint_gateway_native.accel")]
        pub struct $Point($group);

        #[pymethods]
        impl $Point {
            #[new]
            fn generator() -> Self {
                Self(<$group>::generator())
            }

            #[staticmethod]
            fn identity() -> Self {
                Self(<$group>::identity())
            }

            /// Raises `ValueError` when no point of the subgroup has this form.
            #[staticmethod]
            fn from_compressed_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
                let point = work(py, || $decode(data))?;
                point
                    .map(Self)
                    .ok_or_else(|| PyValueError::new_err("not a point"))
            }

            fn to_compressed_bytes(&self) -> [u8; $size] {
                self.0.to_compressed()
            }

            fn __add__(&self, other: &Self) -> Self {
                Self(self.0 + other.0)
            }

            fn __sub__(&self, other: &Self) -> Self {
                Self(self.0 - other.0)
            }

            fn __neg__(&self) -> Self {
                Self(-self.0)
            }

            fn __mul__(&self, py: Python<'_>, factor: &Bound<'_, PyAny>) -> PyResult<Self> {
                let factor = scalar_of(factor)?;
                Ok(Self(work(py, || bls::multiply(self.0, &factor))?))
            }

            fn __eq__(&self, other: &Self) -> bool {
                self.0 == other.0
            }

            fn __hash__(&self) -> u64 {
                let mut hasher = DefaultHasher::new();
                self.0.to_compressed().hash(&mut hasher);
                hasher.finish()
            }
        }
    };
}

group_of_points!(PyG1, "G1Point", G1, G1_SIZE, bls::decode_g1);
group_of_points!(PyG2, "G2Point", G2, G2_SIZE, bls::decode_g2);

/// What a generator that drew this x and flip makes of them, or None. Raises `ValueError` for a wrong size.
#[pyfunction]
pub fn point_of_g1(py: Python<'_>, x: &[u8], flip: bool) -> PyResult<Option<PyG1>> {
    let x = sized(x)?;
    Ok(work(py, || bls::point_of_g1(x, flip))?.map(PyG1))
}

/// As `point_of_g1`.
#[pyfunction]
pub fn point_of_g2(py: Python<'_>, x: &[u8], flip: bool) -> PyResult<Option<PyG2>> {
    let x = sized(x)?;
    Ok(work(py, || bls::point_of_g2(x, flip))?.map(PyG2))
}

fn sized<const SIZE: usize>(x: &[u8]) -> PyResult<[u8; SIZE]> {
    x.try_into()
        .map_err(|_| PyValueError::new_err(format!("x has {SIZE} bytes")))
}

/// The sum of the points, each multiplied by its scalar. Raises `ValueError` when there are more of one than of the other.
#[pyfunction]
pub fn multiply_sum_g1(
    py: Python<'_>,
    points: Vec<PyRef<'_, PyG1>>,
    scalars: Vec<Bound<'_, PyAny>>,
) -> PyResult<PyG1> {
    same_length(points.len(), scalars.len())?;
    let points: Vec<G1> = points.into_iter().map(|point| point.0).collect();
    let factors = scalars
        .into_iter()
        .map(|scalar| scalar_of(&scalar))
        .collect::<PyResult<Vec<_>>>()?;
    Ok(PyG1(work(py, || bls::multiply_sum(&points, &factors))?))
}

/// Whether the product of the pairings, taken in order, is one. Raises `ValueError` as `multiply_sum_g1` does.
#[pyfunction]
pub fn pairing_check(
    py: Python<'_>,
    g1_points: Vec<PyRef<'_, PyG1>>,
    g2_points: Vec<PyRef<'_, PyG2>>,
) -> PyResult<bool> {
    same_length(g1_points.len(), g2_points.len())?;
    let left: Vec<G1> = g1_points.into_iter().map(|point| point.0).collect();
    let right: Vec<G2> = g2_points.into_iter().map(|point| point.0).collect();
    work(py, || bls::pairings_product_is_one(&left, &right))
}

fn same_length(left: usize, right: usize) -> PyResult<()> {
    if left == right {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "{left} cannot be paired with {right}"
    )))
}
