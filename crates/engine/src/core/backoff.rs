//! Waits between attempts. Exponential backoff: the wait doubles with each failure, up to a limit, with 20 % jitter (KIP-580, Java's
//! `ExponentialBackoff`).

use std::time::Duration;

/// The first and the longest wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    pub first: Duration,
    pub longest: Duration,
}

impl Backoff {
    /// Returns the wait after this many consecutive failures, at least one.
    pub(super) fn after(self, failures: u32, random: &mut fastrand::Rng) -> Duration {
        if self.longest <= self.first {
            return self.longest;
        }
        let doublings = failures.saturating_sub(1).min(31);
        let wait = self.first.saturating_mul(1 << doublings).min(self.longest);
        wait.mul_f64(0.8 + 0.4 * random.f64()).min(self.longest)
    }
}

/// How long to wait for one node to connect, or to answer a request that any node can answer, before also trying
/// another.
pub(super) const SLOW: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn waits_double_up_to_the_limit_give_or_take_a_fifth() {
        let backoff = Backoff { first: ms(100), longest: ms(1000) };
        let mut random = fastrand::Rng::with_seed(1);
        for (failures, middle) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (6, 1000), (u32::MAX, 1000)] {
            for _ in 0..200 {
                let wait = backoff.after(failures, &mut random);
                assert!(
                    wait >= ms(middle * 8 / 10) && wait <= ms((middle * 12 / 10).min(1000)),
                    "{failures}: {wait:?}"
                );
            }
        }
    }

    #[test]
    fn limit_below_first_wait_is_the_wait() {
        let backoff = Backoff { first: ms(100), longest: ms(50) };
        assert_eq!(backoff.after(3, &mut fastrand::Rng::with_seed(1)), ms(50));
    }
}
