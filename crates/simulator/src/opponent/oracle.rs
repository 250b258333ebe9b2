//! One who knows everything: what could be reached at all.

use std::cell::RefCell;
use std::rc::Rc;

use balance::Candidates;
use fastrand::Rng;

use super::{Judge, Opponent, least};
use crate::machine::Machine;
use crate::scenario::WORK_MEAN;

pub(super) const OPPONENT: Opponent = Opponent {
    name: "oracle",
    summary: "the shortest expected delay by the true speeds and queues of this moment, those of \
              other balancers included",
    is_judged: false,
    build: |world| Box::new(Oracle(Rc::clone(&world.machines))),
};

struct Oracle(Rc<RefCell<Vec<Machine>>>);

impl Judge for Oracle {
    fn pick(&mut self, candidates: &Candidates<'_>, _random: &mut Rng) -> Option<usize> {
        let machines = self.0.borrow();
        least(candidates, |index| machines[index].expected(WORK_MEAN))
    }
}
