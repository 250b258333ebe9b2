//! Bounded load: a key is not followed to an endpoint that has far more than its share.

use super::Candidates;

/// At most so many times its fair share of the requests in flight for each endpoint, or no bound.
///
/// Source: Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    factor: Option<f64>,
}

/// What the bound comes to for one pick.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caps {
    /// Requests in flight that all candidates together may have, and their weight. `None`: no
    /// bound.
    together: Option<(f64, f64)>,
}

impl Bound {
    /// `factor` is 1.0 or more.
    pub(super) fn new(factor: Option<f64>) -> Self {
        Self { factor }
    }

    pub(super) fn caps(self, candidates: &Candidates<'_>) -> Caps {
        let together = self.factor.map(|factor| {
            // This one included. All caps together are more than what is in flight, so that
            // at least one endpoint is below its own.
            let in_flight = candidates.in_flight() + 1;
            (factor * in_flight as f64, candidates.weight_sum() as f64)
        });
        Caps { together }
    }
}

impl Caps {
    /// True if one more request keeps the endpoint within
    /// `ceil(factor * (in_flight + 1) * weight / weight_sum)`.
    pub(super) fn has_room(self, candidates: &Candidates<'_>, index: usize) -> bool {
        self.together.is_none_or(|(in_flight, weight_sum)| {
            let cap = (in_flight * f64::from(candidates.weight(index)) / weight_sum).ceil();
            f64::from(candidates.load(index)) < cap
        })
    }
}
