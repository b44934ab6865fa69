//! The threads of the node, and whether one of them has panicked: LDK then goes on half dead, and says nothing.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, Once, OnceLock, PoisonError};
use std::thread;

use ldk_node::tokio::runtime::{Builder, Handle, Runtime};

const THREADS: usize = 2;
const THREAD_NAME: &str = "ldk";

static BROKEN: Mutex<Option<String>> = Mutex::new(None);

/// Something of the node panicked, with this text. Nothing that it is asked can be relied on any more.
#[derive(Debug, PartialEq)]
pub struct Panicked(pub String);

impl fmt::Display for Panicked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the Lightning node panicked: {}", self.0)
    }
}

/// The runtime of the node alone, so that a panic of one of its threads is known for one of the node.
///
/// # Errors
///
/// When its threads cannot be started; so it stays until the process is started again.
pub fn runtime() -> io::Result<&'static Handle> {
    static RUNTIME: OnceLock<io::Result<Runtime>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        watch_threads();
        Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name(THREAD_NAME)
            .enable_all()
            .build()
    });
    match runtime {
        Ok(runtime) => Ok(runtime.handle()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}

/// The first panic there was in a thread of the node or in a call, None when there was none.
pub fn broken() -> Option<String> {
    BROKEN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// The result of `work`, or that it panicked.
///
/// # Errors
///
/// When `work` panics.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = text_of(&*panic);
        note(&text);
        Panicked(text)
    })
}

/// Notes every panic of a thread of the node from now on; its task ends, and tokio tells nobody.
fn watch_threads() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if thread::current().name() == Some(THREAD_NAME) {
                note(&text_of(panic.payload()));
            }
            others(panic);
        }));
    });
}

fn note(text: &str) {
    let mut broken = BROKEN.lock().unwrap_or_else(PoisonError::into_inner);
    broken.get_or_insert_with(|| text.to_owned());
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a text")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test, since what broke first is remembered for the whole process.
    #[test]
    fn a_panic_is_remembered_wherever_it_was() {
        let runtime = runtime().unwrap();
        assert_eq!(broken(), None);
        let task = runtime.spawn(async { panic!("broken {}", 1) });
        runtime.block_on(task).unwrap_err();
        assert_eq!(broken(), Some("broken 1".into()));
        assert_eq!(caught(|| 7), Ok(7));
        let outcome: Result<(), _> = caught(|| panic!("broken 2"));
        assert_eq!(outcome, Err(Panicked("broken 2".into())));
        assert_eq!(broken(), Some("broken 1".into()));
    }
}
