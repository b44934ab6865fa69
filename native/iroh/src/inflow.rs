//! Bounds the bytes a second of one other side, over all its connections: a bucket that fills with time.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// So many bytes may come at once, and so many a second after them.
pub struct Inflow {
    burst: f64,
    per_second: f64,
    /// What is left, and when that was so.
    left: Mutex<(f64, Instant)>,
}

impl Inflow {
    /// A full bucket.
    #[must_use]
    pub fn new(burst_bytes: u32, bytes_per_second: u32) -> Self {
        let burst = f64::from(burst_bytes);
        Self {
            burst,
            per_second: f64::from(bytes_per_second.max(1)),
            left: Mutex::new((burst, Instant::now())),
        }
    }

    /// Counts bytes that were read, and waits while they were too many; more of them wait at the other side.
    pub async fn pass(&self, size: usize) {
        let pause = self.pause(size, Instant::now());
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }

    fn pause(&self, size: usize, now: Instant) -> Duration {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = left.0 + now.duration_since(left.1).as_secs_f64() * self.per_second;
        #[expect(clippy::cast_precision_loss, reason = "no chunk has 2^52 bytes")]
        let after = filled.min(self.burst) - size as f64;
        *left = (after, now);
        Duration::try_from_secs_f64(-after / self.per_second).unwrap_or(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_what_follows_waits_for_its_bytes() {
        let inflow = Inflow::new(1_000, 100);
        let now = Instant::now();
        assert_eq!(inflow.pause(1_000, now), Duration::ZERO);
        assert_eq!(inflow.pause(50, now), Duration::from_millis(500));
        assert_eq!(inflow.pause(50, now), Duration::from_secs(1));
        assert_eq!(
            inflow.pause(100, now + Duration::from_secs(2)),
            Duration::ZERO
        );
        // However long nothing came, a burst is all.
        let later = now + Duration::from_secs(86_400);
        assert_eq!(inflow.pause(1_100, later), Duration::from_secs(1));
        // Readers of several connections may ask in another order than they looked at the clock.
        assert_eq!(inflow.pause(100, now), Duration::from_secs(2));
    }
}
