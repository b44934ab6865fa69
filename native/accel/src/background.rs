//! Runs work that can wait, in a thread of its own at the lowest priority.

use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

/// Why the work has no result.
#[derive(Debug)]
pub enum Failed {
    /// The system gave no thread.
    NoThread(io::Error),
    /// The work panicked, with this text: a mistake of this library.
    Panicked(String),
}

impl fmt::Display for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoThread(error) => write!(formatter, "no thread could be started: {error}"),
            Self::Panicked(text) => write!(formatter, "the native part panicked: {text}"),
        }
    }
}

impl std::error::Error for Failed {}

/// The result of `work`, or that it panicked.
///
/// The thread is new, since priority cannot be raised again by ordinary users, and since it must never wait for,
/// or hold, Python's lock: at the lowest priority it would keep it from everybody on a busy machine.
///
/// # Errors
/// When no thread can be started, and when `work` panics.
pub fn run<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Failed> {
    thread::scope(|threads| {
        thread::Builder::new()
            .name("accel".into())
            .spawn_scoped(threads, || {
                take_lowest_priority();
                work()
            })
            .map_err(Failed::NoThread)?
            .join()
            .map_err(|panic| Failed::Panicked(text_of(panic.as_ref())))
    })
}

/// The result of `work`, done here and now, or that it panicked.
///
/// # Errors
/// When `work` panics.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, Failed> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Failed::Panicked(text_of(panic.as_ref())))
}

/// Linux has a priority for each thread; elsewhere it would be that of the whole process, and is left alone.
/// Work at an ordinary priority is no less right, so nothing is lost where the system refuses.
fn take_lowest_priority() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(19);
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a text").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_comes_back() {
        let borrowed = [1, 2, 3];
        assert_eq!(run(|| borrowed.iter().sum::<i32>()).unwrap(), 6);
    }

    #[test]
    fn a_panic_is_an_error_with_its_text() {
        for panic in [
            run(|| panic!("broken")),
            run(|| panic!("{}", ["bro", "ken"].concat())),
            caught(|| panic!("broken")),
        ] {
            let error: Failed = panic.map(|(): ()| ()).unwrap_err();
            assert_eq!(error.to_string(), "the native part panicked: broken");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_priority_is_lowest_there_and_unchanged_here() {
        let of_this_thread = || rustix::process::nice(0).unwrap();
        let before = of_this_thread();
        assert_eq!(run(of_this_thread).unwrap(), 19);
        assert_eq!(of_this_thread(), before);
    }
}
