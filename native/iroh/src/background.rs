//! The threads of all tasks. They are started when first needed, and nobody waits for their end.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::OnceLock;
use std::task::Poll;

use tokio::runtime::{Builder, Handle, Runtime};
pub use tokio::task::AbortHandle;

/// Enough for hundreds of answers a second; encryption is what takes time.
const THREADS: usize = 2;

/// A task ended by a mistake of its own.
#[derive(Debug, PartialEq)]
pub struct Panicked(pub String);

impl fmt::Display for Panicked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "the native part panicked: {}", self.0)
    }
}

/// The runtime, started now if it was not.
///
/// # Errors
///
/// When its threads cannot be started; so it stays until the process is started again.
pub fn runtime() -> io::Result<&'static Handle> {
    static RUNTIME: OnceLock<io::Result<Runtime>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("iroh")
            .enable_all()
            .build()
    });
    match runtime {
        Ok(runtime) => Ok(runtime.handle()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}

/// Runs `work` and hands its outcome to `done`, unless the handle ends it before.
///
/// # Errors
///
/// As `runtime`.
pub fn start<T>(
    work: impl Future<Output = T> + Send + 'static,
    done: impl FnOnce(Result<T, Panicked>) + Send + 'static,
) -> io::Result<AbortHandle> {
    let task = runtime()?.spawn(async move { done(caught(work).await) });
    Ok(task.abort_handle())
}

/// The outcome of `work`.
///
/// # Errors
///
/// When it panicked.
pub async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut work = pin!(work);
    std::future::poll_fn(move |context| {
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(panic) => Poll::Ready(Err(Panicked(text_of(&*panic)))),
        }
    })
    .await
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a text")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_panic_is_an_outcome() {
        let (sender, receiver) = mpsc::channel();
        let send = sender.clone();
        start(
            async { panic!("broken {}", 1) },
            move |outcome: Result<(), _>| {
                send.send(outcome).unwrap();
            },
        )
        .unwrap();
        assert_eq!(receiver.recv().unwrap(), Err(Panicked("broken 1".into())));
        start(async {}, move |outcome| sender.send(outcome).unwrap()).unwrap();
        assert_eq!(receiver.recv().unwrap(), Ok(()));
    }

    #[test]
    fn a_task_that_is_ended_has_no_outcome() {
        let (sender, receiver) = mpsc::channel::<()>();
        let task = start(std::future::pending::<()>(), move |_| {
            sender.send(()).unwrap();
        })
        .unwrap();
        task.abort();
        assert!(receiver.recv().is_err());
    }
}
