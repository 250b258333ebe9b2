//! What the theory of queues says, to check what measures.

/// A queue with Poisson arrivals, exponential work and some slots (M/M/k).
pub(super) struct Theory {
    pub(super) slots: usize,
    /// Mean work, in seconds.
    pub(super) mean: f64,
    /// Arrivals as a share of what the slots do.
    pub(super) load: f64,
}

impl Theory {
    /// The quantile of the time from arrival to end, in seconds.
    pub(super) fn latency(&self, quantile: f64) -> f64 {
        let (mut low, mut high) = (0.0, self.mean * 1000.0);
        for _ in 0..100 {
            let middle = f64::midpoint(low, high);
            if self.longer_than(middle) > 1.0 - quantile {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }

    /// The share of requests that take longer than `seconds`.
    ///
    /// The wait is 0, or with the chance that Erlang's C formula gives exponential too.
    fn longer_than(&self, seconds: f64) -> f64 {
        let work = 1.0 / self.mean;
        let wait = self.slots as f64 * work * (1.0 - self.load);
        let waits = self.waits();
        let work_alone = (-work * seconds).exp();
        let both = (wait * work_alone - work * (-wait * seconds).exp()) / (wait - work);
        (1.0 - waits) * work_alone + waits * both
    }

    /// The share of requests that wait at all (Erlang C).
    fn waits(&self) -> f64 {
        let offered = self.slots as f64 * self.load;
        // Erlang's B, by its recurrence.
        let lost = (1..=self.slots).fold(1.0, |lost, slot| {
            offered * lost / (slot as f64 + offered * lost)
        });
        lost / (1.0 - self.load * (1.0 - lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slot_has_the_latency_of_the_textbook() {
        // M/M/1: exponential with rate work - arrivals.
        let theory = Theory {
            slots: 1,
            mean: 0.010,
            load: 0.7,
        };
        let expected = 0.010 / 0.3 * 100.0_f64.ln();
        assert!((theory.latency(0.99) - expected).abs() < 1e-9);
    }

    #[test]
    fn erlangs_table_is_met() {
        // Four slots and an offered load of 2.8 erlangs.
        let theory = Theory {
            slots: 4,
            mean: 1.0,
            load: 0.7,
        };
        assert!((theory.waits() - 0.4287).abs() < 1e-4, "{}", theory.waits());
    }
}
