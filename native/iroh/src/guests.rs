//! Makes room when every place is taken: a guest who waits for no answer gives theirs up, and nobody who waits does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iroh::endpoint::{Connection, VarInt};
use tokio::task::AbortHandle;

/// Told to a guest whose place was given to another.
const NO_ROOM: u32 = 3;

/// All who are connected, the oldest first.
pub struct Guests {
    places: usize,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    guests: Vec<Guest>,
    next: u64,
}

struct Guest {
    number: u64,
    /// What serves them, once it runs.
    task: Option<AbortHandle>,
    /// None during the handshake.
    connection: Option<Connection>,
    asking: usize,
    has_asked: bool,
}

/// A place taken, until this is dropped.
pub struct Place {
    guests: Arc<Guests>,
    number: u64,
}

/// A request of a guest, until this is dropped.
pub struct Asking(Arc<Place>);

impl Guests {
    /// So many places.
    #[must_use]
    pub fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            places,
            inside: Mutex::default(),
        })
    }

    /// A place, if need be that of the guest who needs it least; None where everybody waits for an answer.
    pub fn enter(self: &Arc<Self>) -> Option<Place> {
        let mut inside = self.inside();
        if inside.guests.len() >= self.places {
            let idle = |guest: &&Guest| guest.asking == 0;
            let silent = inside
                .guests
                .iter()
                .filter(idle)
                .find(|guest| !guest.has_asked);
            let leaving = silent.or_else(|| inside.guests.iter().find(idle))?.number;
            inside.show_out(leaving);
        }
        let number = inside.next;
        inside.next += 1;
        inside.guests.push(Guest {
            number,
            task: None,
            connection: None,
            asking: 0,
            has_asked: false,
        });
        Some(Place {
            guests: self.clone(),
            number,
        })
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, number: u64, change: impl FnOnce(&mut Guest)) {
        let mut inside = self.inside();
        if let Some(guest) = inside
            .guests
            .iter_mut()
            .find(|guest| guest.number == number)
        {
            change(guest);
        }
    }
}

impl Inside {
    fn show_out(&mut self, number: u64) {
        if let Some(at) = self.guests.iter().position(|guest| guest.number == number) {
            let guest = self.guests.remove(at);
            if let Some(task) = guest.task {
                task.abort();
            }
            if let Some(connection) = guest.connection {
                connection.close(VarInt::from_u32(NO_ROOM), b"no room");
            }
        }
    }
}

impl Place {
    /// What serves the guest, and is ended with their place.
    pub fn served_by(guests: &Guests, number: u64, task: AbortHandle) {
        guests.change(number, |guest| guest.task = Some(task));
    }

    /// By which the guest is known to `served_by`.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The handshake is over.
    pub fn connected(&self, connection: Connection) {
        self.guests
            .change(self.number, |guest| guest.connection = Some(connection));
    }

    /// The guest waits for an answer from now on.
    #[must_use]
    pub fn asks(self: &Arc<Self>) -> Asking {
        self.guests.change(self.number, |guest| {
            guest.asking += 1;
            guest.has_asked = true;
        });
        Asking(self.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.guests
            .inside()
            .guests
            .retain(|guest| guest.number != self.number);
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0
            .guests
            .change(self.0.number, |guest| guest.asking -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(guests: &Guests) -> Vec<u64> {
        guests
            .inside()
            .guests
            .iter()
            .map(|guest| guest.number)
            .collect()
    }

    #[test]
    fn who_never_asked_leaves_first_then_who_waits_for_nothing_and_nobody_else() {
        let guests = Guests::new(3);
        let [first, second, third] = [0; 3].map(|_| Arc::new(guests.enter().unwrap()));
        let waiting = first.asks();
        drop(second.asks());
        let fourth = Arc::new(guests.enter().unwrap());
        assert_eq!(inside(&guests), [0, 1, 3]);
        let also_waiting = fourth.asks();
        let fifth = Arc::new(guests.enter().unwrap());
        assert_eq!(inside(&guests), [0, 3, 4]);
        let waits_too = fifth.asks();
        assert!(guests.enter().is_none());
        // Who was shown out has no place to give back.
        drop((second, third));
        assert_eq!(inside(&guests), [0, 3, 4]);
        drop(waiting);
        drop(first);
        assert_eq!(inside(&guests), [3, 4]);
        let sixth = guests.enter();
        assert!(sixth.is_some());
        assert_eq!(inside(&guests), [3, 4, 5]);
        drop((also_waiting, waits_too, sixth));
        assert_eq!(inside(&guests), [3, 4]);
    }
}
