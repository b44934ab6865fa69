//! Where tasks of the background leave what they have done, for a loop that waits for a file descriptor.
//!
//! So no thread waits for a task, and no task waits for the thread that takes its outcome.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

/// Items with the numbers that the taker gave to their tasks. The descriptor is readable while there are some.
pub struct Mailbox<T> {
    items: Mutex<VecDeque<(u64, T)>>,
    bell: UnixStream,
    heard: UnixStream,
}

impl<T> Mailbox<T> {
    /// An empty one.
    ///
    /// # Errors
    ///
    /// When the process has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        let (bell, heard) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        heard.set_nonblocking(true)?;
        Ok(Self {
            items: Mutex::new(VecDeque::new()),
            bell,
            heard,
        })
    }

    /// The descriptor to wait for until it is readable; it lives as long as this.
    pub fn descriptor(&self) -> RawFd {
        self.heard.as_raw_fd()
    }

    /// Leaves an item.
    pub fn post(&self, number: u64, item: T) {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        if items.is_empty() {
            // One byte for many items. Where the pipe is full, it is readable anyway.
            let _ = (&self.bell).write(&[0]);
        }
        items.push_back((number, item));
    }

    /// Takes everything that is there. The descriptor is silenced first: what comes later rings again.
    pub fn take(&self) -> VecDeque<(u64, T)> {
        let mut rung = [0; 64];
        while matches!((&self.heard).read(&mut rung), Ok(count) if count == rung.len()) {}
        std::mem::take(&mut *self.items.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn is_ringing<T>(mailbox: &Mailbox<T>) -> bool {
        let mut one = [0];
        matches!((&mailbox.heard).read(&mut one), Ok(1))
    }

    #[test]
    fn rings_once_for_many_items_and_again_after_they_were_taken() {
        let mailbox = Mailbox::new().unwrap();
        assert!(!is_ringing(&mailbox));
        mailbox.post(1, 'a');
        mailbox.post(2, 'b');
        assert!(is_ringing(&mailbox));
        assert!(!is_ringing(&mailbox));
        assert_eq!(mailbox.take(), [(1, 'a'), (2, 'b')]);
        mailbox.post(3, 'c');
        assert!(is_ringing(&mailbox));
        assert_eq!(mailbox.take(), [(3, 'c')]);
        assert!(mailbox.take().is_empty());
        assert!(!is_ringing(&mailbox));
    }

    #[test]
    fn nothing_is_lost_or_left_unheard_between_threads() {
        const EACH: u64 = 10_000;
        let mailbox = Mailbox::new().unwrap();
        thread::scope(|scope| {
            for thread in 0..2 {
                let mailbox = &mailbox;
                scope.spawn(move || {
                    for number in 0..EACH {
                        mailbox.post(thread * EACH + number, ());
                    }
                });
            }
            mailbox.heard.set_nonblocking(false).unwrap();
            let mut taken = Vec::new();
            while taken.len() < 2 * usize::try_from(EACH).unwrap() {
                // Waits for ever, where an item was left without a ring.
                assert_eq!((&mailbox.heard).read(&mut [0]).unwrap(), 1);
                mailbox.heard.set_nonblocking(true).unwrap();
                taken.extend(mailbox.take().into_iter().map(|(number, ())| number));
                mailbox.heard.set_nonblocking(false).unwrap();
            }
            taken.sort_unstable();
            assert!(taken.into_iter().eq(0..2 * EACH));
        });
    }
}
