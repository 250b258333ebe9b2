//! The flows of a listening socket: which client's datagrams belong together, and which flow has
//! been idle for longest.
//!
//! Two structures over the same places: a map finds the flow of a client, a list through the places
//! has them in the order of their last datagrams. So whatever happens to a flow takes the same time
//! however many there are, and one timer is enough, for the first of the list.
//!
//! Absent on purpose: sockets, and a clock: time is an argument.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

/// What tells flows apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ends {
    pub(crate) client: SocketAddr,
    /// The address of ours that the client sends to, where that is known.
    pub(crate) local: Option<IpAddr>,
}

/// Up to a number of flows, each idle since some moment.
#[derive(Debug)]
pub(crate) struct Flows<F> {
    flows_max: usize,
    /// Hashed with a key that nobody knows: clients choose their addresses.
    by_ends: HashMap<Ends, Place>,
    places: Vec<Slot<F>>,
    /// The first of the places without a flow, which are chained by `newer`.
    free: Option<Place>,
    oldest: Option<Place>,
    newest: Option<Place>,
}

/// Where a flow stands for as long as it is in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u32);

#[derive(Debug)]
struct Slot<F> {
    taken: Option<(Ends, F)>,
    idle_since: Instant,
    older: Option<Place>,
    newer: Option<Place>,
}

impl<F: Clone> Flows<F> {
    /// No flows yet, and never more than `flows_max`.
    pub(crate) fn new(flows_max: usize) -> Self {
        Self {
            // A place has 32 bits.
            flows_max: flows_max.clamp(1, u32::MAX as usize),
            by_ends: HashMap::new(),
            places: Vec::new(),
            free: None,
            oldest: None,
            newest: None,
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_ends.len()
    }

    /// The flow between these ends.
    pub(crate) fn find(&self, ends: &Ends) -> Option<&F> {
        let place = *self.by_ends.get(ends)?;
        self.slot(place).taken.as_ref().map(|(_, flow)| flow)
    }

    /// True if a new flow would be one too many.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.flows_max
    }

    /// Adds a flow, made for its place, between ends that have none. Returns it.
    ///
    /// # Panics
    /// If there are as many as there may be.
    pub(crate) fn insert(&mut self, ends: Ends, now: Instant, flow: impl FnOnce(Place) -> F) -> F {
        assert!(!self.is_full(), "whoever adds a flow has made room for it");
        let place = match self.free {
            Some(place) => {
                self.free = self.slot(place).newer;
                place
            }
            None => {
                self.places.push(Slot {
                    taken: None,
                    idle_since: now,
                    older: None,
                    newer: None,
                });
                Place((self.places.len() - 1) as u32)
            }
        };
        let flow = flow(place);
        let slot = self.slot_mut(place);
        slot.taken = Some((ends, flow.clone()));
        slot.idle_since = now;
        let before = self.by_ends.insert(ends, place);
        debug_assert!(before.is_none(), "the ends had a flow");
        self.append(place);
        flow
    }

    /// The flow there has a datagram at this moment.
    pub(crate) fn touch(&mut self, place: Place, now: Instant) {
        self.slot_mut(place).idle_since = now;
        if self.newest != Some(place) {
            self.unlink(place);
            self.append(place);
        }
    }

    /// Takes out the flow there.
    pub(crate) fn remove(&mut self, place: Place) -> Option<F> {
        let (ends, flow) = self.slot_mut(place).taken.take()?;
        self.by_ends.remove(&ends);
        self.unlink(place);
        self.slot_mut(place).newer = self.free;
        self.free = Some(place);
        Some(flow)
    }

    /// The flow that has been idle for longest, and since when.
    pub(crate) fn oldest(&self) -> Option<(&F, Instant)> {
        self.at(self.oldest)
    }

    /// The flow that had a datagram last, and when.
    pub(crate) fn newest(&self) -> Option<(&F, Instant)> {
        self.at(self.newest)
    }

    fn at(&self, place: Option<Place>) -> Option<(&F, Instant)> {
        let slot = self.slot(place?);
        slot.taken.as_ref().map(|(_, flow)| (flow, slot.idle_since))
    }

    /// Takes a place out of the list.
    fn unlink(&mut self, place: Place) {
        let Slot { older, newer, .. } = *self.slot(place);
        match older {
            Some(older) => self.slot_mut(older).newer = newer,
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => self.slot_mut(newer).older = older,
            None => self.newest = older,
        }
    }

    /// Puts a place at the end of the list.
    fn append(&mut self, place: Place) {
        let older = self.newest.replace(place);
        match older {
            Some(older) => self.slot_mut(older).newer = Some(place),
            None => self.oldest = Some(place),
        }
        let slot = self.slot_mut(place);
        (slot.older, slot.newer) = (older, None);
    }

    fn slot(&self, place: Place) -> &Slot<F> {
        &self.places[place.0 as usize]
    }

    fn slot_mut(&mut self, place: Place) -> &mut Slot<F> {
        &mut self.places[place.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// What happens to a table, to the flow of one of a few clients.
    #[derive(Debug, Clone, Copy)]
    enum Step {
        /// It has a datagram: a new flow, or one more of an old one.
        Datagram(u16),
        /// It ends.
        End(u16),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let client = 1..20_u16;
        let step = prop_oneof![
            4 => client.clone().prop_map(Step::Datagram),
            1 => client.prop_map(Step::End),
        ];
        prop::collection::vec(step, 0..300)
    }

    fn ends(port: u16) -> Ends {
        Ends {
            client: SocketAddr::from(([192, 0, 2, 1], port)),
            // Clients of one address and port are told apart by what they sent to.
            local: Some(IpAddr::from([198, 51, 100, (port % 3) as u8])),
        }
    }

    /// The model: client and time of the last datagram, the longest idle first.
    type Model = Vec<(u16, Instant)>;

    fn forget(model: &mut Model, client: u16) {
        model.retain(|(other, _)| *other != client);
    }

    proptest! {
        #[test]
        fn it_does_what_a_list_would_do(flows_max in 1..12_usize, steps in steps()) {
            let mut flows: Flows<(u16, Place)> = Flows::new(flows_max);
            let mut model = Model::new();
            let start = Instant::now();
            for (number, step) in steps.into_iter().enumerate() {
                let now = start + Duration::from_secs(number as u64);
                let (Step::Datagram(client) | Step::End(client)) = step;
                let found = flows.find(&ends(client)).copied();
                prop_assert_eq!(found.is_some(), model.iter().any(|(known, _)| *known == client));
                match (step, found) {
                    (Step::Datagram(_), Some((_, place))) => {
                        forget(&mut model, client);
                        model.push((client, now));
                        flows.touch(place, now);
                    }
                    (Step::Datagram(_), None) => {
                        prop_assert_eq!(flows.is_full(), model.len() == flows_max);
                        if flows.is_full() {
                            let (oldest, place) = *flows.oldest().expect("it is full").0;
                            prop_assert_eq!(flows.remove(place), Some((oldest, place)));
                            prop_assert_eq!(model.remove(0).0, oldest);
                        }
                        model.push((client, now));
                        flows.insert(ends(client), now, |place| (client, place));
                    }
                    (Step::End(_), Some((_, place))) => {
                        forget(&mut model, client);
                        prop_assert_eq!(flows.remove(place), Some((client, place)));
                        prop_assert_eq!(flows.remove(place), None);
                    }
                    (Step::End(_), None) => {}
                }
                prop_assert_eq!(flows.len(), model.len());
                let end = |end: Option<(&(u16, Place), Instant)>| end.map(|(flow, at)| (flow.0, at));
                prop_assert_eq!(end(flows.oldest()), model.first().copied());
                prop_assert_eq!(end(flows.newest()), model.last().copied());
                prop_assert!(flows.places.len() <= flows_max, "places are used again");
            }
            // The whole list, in order.
            for (client, _) in model {
                let (oldest, place) = *flows.oldest().expect("the model has it").0;
                prop_assert_eq!(oldest, client);
                flows.remove(place);
            }
            prop_assert!(flows.oldest().is_none() && flows.newest().is_none());
        }
    }
}
