use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::*;
use crate::fixture::{ask, endpoint, pick, poll, pool, pool_of, settings, tick};
use crate::{
    AdminState, Availability, Balancer, DEFAULT_POLICY, Lease, Pick, Pool, PoolSettings,
    QueueSettings, Tried, Wanted,
};

/// A waker that remembers.
struct Bell {
    rung: AtomicBool,
    thread: Thread,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

fn bell() -> (Arc<Bell>, Waker) {
    let bell = Arc::new(Bell {
        rung: AtomicBool::new(false),
        thread: thread::current(),
    });
    (Arc::clone(&bell), Waker::from(bell))
}

/// A queue that holds one.
fn short_queue() -> Balancer {
    let queue = QueueSettings {
        length: 1,
        ..QueueSettings::default()
    };
    let settings = PoolSettings {
        queue,
        ..settings(DEFAULT_POLICY)
    };
    Balancer::new(pool(settings, vec![endpoint(1, 1)], 1), 0)
}

fn rung(bell: &Bell) -> bool {
    bell.rung.swap(false, Ordering::SeqCst)
}

fn served(turn: Poll<Option<Lease>>) -> Lease {
    match turn {
        Poll::Ready(Some(lease)) => lease,
        Poll::Ready(None) => panic!("refused"),
        Poll::Pending => panic!("not its turn"),
    }
}

#[test]
fn waiters_are_served_in_the_order_they_came_over_all_workers() {
    let pool = pool_of(&[1], 2);
    let mut workers = [
        Balancer::new(Arc::clone(&pool), 0),
        Balancer::new(Arc::clone(&pool), 1),
    ];
    let mut held = pick(&mut workers[0]).expect("room");
    // Tickets of both workers, interleaved.
    let order = [1, 0, 0, 1, 1, 0];
    let mut waiters: Vec<_> = order
        .iter()
        .map(|&worker| {
            let ticket = workers[worker].enqueue(tick()).expect("the queue has room");
            let (bell, waker) = bell();
            assert!(poll(&mut workers[worker], ticket, &waker).is_pending());
            (worker, ticket, bell, waker)
        })
        .collect();
    while !waiters.is_empty() {
        drop(held);
        for (worker, ticket, _, waker) in waiters.iter().skip(1) {
            assert!(
                poll(&mut workers[*worker], *ticket, waker).is_pending(),
                "overtook"
            );
        }
        let (worker, ticket, bell, waker) = waiters.remove(0);
        assert!(rung(&bell), "the first was not woken");
        held = served(poll(&mut workers[worker], ticket, &waker));
    }
    assert_eq!(pool.queue.waiting(), 0);
}

#[test]
fn a_new_request_does_not_overtake_those_who_wait() {
    let mut balancer = Balancer::new(pool_of(&[1], 1), 0);
    let held = pick(&mut balancer).expect("room");
    let ticket = balancer.enqueue(tick()).expect("the queue has room");
    drop(held);
    assert!(pick(&mut balancer).is_none());
    let (_, waker) = bell();
    drop(served(poll(&mut balancer, ticket, &waker)));
    assert!(pick(&mut balancer).is_some());
}

#[test]
fn a_full_queue_takes_nobody_until_one_leaves() {
    let mut balancer = short_queue();
    let _held = pick(&mut balancer).expect("room");
    let ticket = balancer.enqueue(tick()).expect("the queue has room");
    assert!(balancer.enqueue(tick()).is_none());
    balancer.leave(ticket);
    balancer.leave(ticket); // Once more does nothing.
    assert_eq!(balancer.pool().queue.waiting(), 0);
    assert!(balancer.enqueue(tick()).is_some());
}

#[test]
fn whoever_leaves_in_front_hands_the_turn_to_the_next() {
    let pool = pool_of(&[1], 2);
    let mut one = Balancer::new(Arc::clone(&pool), 0);
    let mut other = Balancer::new(Arc::clone(&pool), 1);
    let held = pick(&mut one).expect("room");
    let (_, waker_of_leaver) = bell();
    let (bell, waker) = bell();
    let leaver = one.enqueue(tick()).expect("the queue has room");
    assert!(poll(&mut one, leaver, &waker_of_leaver).is_pending());
    let next = other.enqueue(tick()).expect("the queue has room");
    assert!(poll(&mut other, next, &waker).is_pending());
    // The wake-up for this room goes to the one that then leaves.
    drop(held);
    assert!(!rung(&bell));
    one.leave(leaver);
    assert!(rung(&bell));
    drop(served(poll(&mut other, next, &waker)));
}

#[test]
fn whoever_leaves_in_the_middle_changes_nothing_for_the_others() {
    let mut balancer = Balancer::new(pool_of(&[1], 1), 0);
    let held = pick(&mut balancer).expect("room");
    let (_, waker) = bell();
    let tickets: Vec<_> = (0..3)
        .map(|_| balancer.enqueue(tick()).expect("room to wait"))
        .collect();
    balancer.leave(tickets[1]);
    drop(held);
    assert!(poll(&mut balancer, tickets[2], &waker).is_pending());
    drop(served(poll(&mut balancer, tickets[0], &waker)));
    drop(served(poll(&mut balancer, tickets[2], &waker)));
}

#[test]
fn room_for_two_is_found_by_two_although_one_is_woken() {
    let mut balancer = Balancer::new(pool_of(&[2], 1), 0);
    let held = [
        pick(&mut balancer).expect("room"),
        pick(&mut balancer).expect("room"),
    ];
    let bells = [bell(), bell()];
    let tickets = [0, 1].map(|_| balancer.enqueue(tick()).expect("room to wait"));
    for (ticket, (_, waker)) in tickets.iter().zip(&bells) {
        assert!(poll(&mut balancer, *ticket, waker).is_pending());
    }
    drop(held);
    assert!(rung(&bells[0].0) && !rung(&bells[1].0));
    let first = served(poll(&mut balancer, tickets[0], &bells[0].1));
    assert!(rung(&bells[1].0));
    let second = served(poll(&mut balancer, tickets[1], &bells[1].1));
    drop((first, second));
}

#[test]
fn waiters_are_woken_when_an_endpoint_comes_up_and_refused_when_none_is_left() {
    let pool = pool_of(&[1, 1], 1);
    pool.set_availability(1, Availability::Down);
    let mut balancer = Balancer::new(Arc::clone(&pool), 0);
    let held = pick(&mut balancer).expect("room");
    let (bell, waker) = bell();
    let ticket = balancer.enqueue(tick()).expect("room to wait");
    assert!(poll(&mut balancer, ticket, &waker).is_pending());
    pool.set_availability(1, Availability::Up);
    assert!(rung(&bell));
    let second = served(poll(&mut balancer, ticket, &waker));
    assert_eq!(second.index(), 1);

    let ticket = balancer.enqueue(tick()).expect("room to wait");
    assert!(poll(&mut balancer, ticket, &waker).is_pending());
    pool.set_admin_state(0, AdminState::Maintenance);
    pool.set_admin_state(1, AdminState::Maintenance);
    assert!(rung(&bell));
    assert!(matches!(
        poll(&mut balancer, ticket, &waker),
        Poll::Ready(None)
    ));
    assert_eq!(pool.queue.waiting(), 0);
    drop((held, second));
}

/// A poll at this time.
fn poll_at(
    balancer: &mut Balancer,
    ticket: Ticket,
    waker: &Waker,
    now: Instant,
) -> Poll<Option<Lease>> {
    let (tried, mut cx) = (Tried::new(), Context::from_waker(waker));
    let mut random = Rng::with_seed(1);
    balancer
        .poll_turn(ticket, &Wanted::plain(&tried, now), &mut cx, &mut random)
        .map(|pick| match pick {
            Pick::Endpoint(lease, _) => Some(lease),
            Pick::Full | Pick::CircuitOpen | Pick::Refused => None,
        })
}

/// A queue under standing overload.
struct Overload {
    /// Has the only place.
    held: Lease,
    /// Waits since long, at the worker.
    oldest: Ticket,
    now: Instant,
}

/// Two of three waiters of `worker` are served late, the second one an interval after the first.
fn overload(worker: &mut Balancer) -> Overload {
    let came = tick();
    let mut held = pick(worker).expect("room");
    let (_, waker) = bell();
    let tickets = [(); 3].map(|()| worker.enqueue(came).expect("room to wait"));
    let mut now = came;
    for ticket in &tickets[..2] {
        assert!(!worker.pool().queue.is_newest_first());
        now += Duration::from_millis(100);
        drop(held);
        held = served(poll_at(worker, *ticket, &waker, now));
    }
    assert!(worker.pool().queue.is_newest_first());
    Overload {
        held,
        oldest: tickets[2],
        now,
    }
}

#[test]
fn under_standing_overload_the_last_to_come_is_served_first_over_all_workers() {
    let pool = pool_of(&[1], 2);
    let mut workers = [
        Balancer::new(Arc::clone(&pool), 0),
        Balancer::new(Arc::clone(&pool), 1),
    ];
    let Overload {
        mut held,
        oldest,
        now,
    } = overload(&mut workers[0]);
    let mut waiters = vec![(0, oldest)];
    for worker in [1, 0, 0, 1, 1, 0] {
        waiters.push((worker, workers[worker].enqueue(now).expect("room to wait")));
    }
    let mut waiters: Vec<_> = waiters
        .into_iter()
        .map(|(worker, ticket)| {
            let (bell, waker) = bell();
            assert!(poll_at(&mut workers[worker], ticket, &waker, now).is_pending());
            (worker, ticket, bell, waker)
        })
        .collect();
    while let Some((worker, ticket, bell, waker)) = waiters.pop() {
        assert!(pool.queue.is_newest_first());
        drop(held);
        for (worker, ticket, bell, waker) in &waiters {
            assert!(!rung(bell), "woken out of turn");
            let turn = poll_at(&mut workers[*worker], *ticket, waker, now);
            assert!(turn.is_pending(), "overtook");
        }
        assert!(rung(&bell), "the next was not woken");
        held = served(poll_at(&mut workers[worker], ticket, &waker, now));
        // Who is served wakes the next, to see whether there is room for more.
        if let Some((worker, ticket, bell, waker)) = waiters.last() {
            assert!(rung(bell));
            assert!(poll_at(&mut workers[*worker], *ticket, waker, now).is_pending());
        }
    }
    assert_eq!(pool.queue.waiting(), 0);
    assert!(
        !pool.queue.is_newest_first(),
        "an empty queue is served in order"
    );
}

#[test]
fn who_came_last_and_leaves_hands_the_turn_to_who_came_before() {
    let mut balancer = Balancer::new(pool_of(&[1], 1), 0);
    let Overload { held, now, .. } = overload(&mut balancer);
    let bells = [bell(), bell()];
    let tickets = [0, 1].map(|which: usize| {
        let ticket = balancer.enqueue(now).expect("room to wait");
        assert!(poll_at(&mut balancer, ticket, &bells[which].1, now).is_pending());
        ticket
    });
    drop(held);
    assert!(!rung(&bells[0].0) && rung(&bells[1].0));
    balancer.leave(tickets[1]);
    assert!(rung(&bells[0].0));
    drop(served(poll_at(&mut balancer, tickets[0], &bells[0].1, now)));
}

#[test]
fn once_nobody_waits_for_long_the_first_to_come_is_served_first_again() {
    let pool = pool_of(&[1], 2);
    let mut one = Balancer::new(Arc::clone(&pool), 0);
    let mut other = Balancer::new(Arc::clone(&pool), 1);
    let mut stands = overload(&mut one);
    let bells = [bell(), bell(), bell()];
    let first = one.enqueue(stands.now).expect("room to wait");
    let second = other.enqueue(stands.now).expect("room to wait");
    let third = other.enqueue(stands.now).expect("room to wait");
    assert!(poll_at(&mut one, first, &bells[0].1, stands.now).is_pending());
    assert!(poll_at(&mut other, second, &bells[1].1, stands.now).is_pending());
    assert!(poll_at(&mut other, third, &bells[2].1, stands.now).is_pending());
    // Nobody is served at that moment, so nobody sees yet that all who are left came just now.
    one.leave(stands.oldest);
    assert!(pool.queue.is_newest_first());
    drop(stands.held);
    stands.now += Duration::from_millis(1);
    let held = served(poll_at(&mut other, third, &bells[2].1, stands.now));
    assert!(!pool.queue.is_newest_first());
    assert!(rung(&bells[0].0), "the order turned, and nobody was told");
    drop(held);
    assert!(poll_at(&mut other, second, &bells[1].1, stands.now).is_pending());
    drop(served(poll_at(&mut one, first, &bells[0].1, stands.now)));
    drop(served(poll_at(&mut other, second, &bells[1].1, stands.now)));
}

#[test]
fn a_worker_that_ends_blocks_nobody() {
    let pool = pool_of(&[1], 2);
    let mut ends = Balancer::new(Arc::clone(&pool), 0);
    let mut stays = Balancer::new(Arc::clone(&pool), 1);
    drop(pick(&mut ends).expect("room"));
    ends.enqueue(tick()).expect("room to wait");
    let ticket = stays.enqueue(tick()).expect("room to wait");
    let (bell, waker) = bell();
    assert!(poll(&mut stays, ticket, &waker).is_pending());
    drop(ends);
    assert!(rung(&bell));
    drop(served(poll(&mut stays, ticket, &waker)));
}

/// What one request of the stress test is at.
enum Stage {
    Arriving,
    Waiting(Ticket),
    Served { lease: Lease, polls_left: u32 },
    Done,
}

struct Request {
    stage: Stage,
    rounds_left: u32,
    bell: Arc<Bell>,
    waker: Waker,
}

impl Request {
    /// One poll, as an executor would after a wake-up. Some give up instead of waiting on.
    fn advance(&mut self, balancer: &mut Balancer, random: &mut Rng) {
        let none = Tried::new();
        self.stage = match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Arriving => match ask(balancer, &none, random) {
                Pick::Endpoint(lease, _) => self.serve(lease, random),
                Pick::Full | Pick::CircuitOpen | Pick::Refused => {
                    let ticket = balancer.enqueue(tick()).expect("the queue is long enough");
                    self.wait(ticket, balancer, random)
                }
            },
            Stage::Waiting(ticket) if random.u8(..8) == 0 => {
                balancer.leave(ticket);
                self.waker.wake_by_ref();
                Stage::Arriving
            }
            Stage::Waiting(ticket) => self.wait(ticket, balancer, random),
            Stage::Served {
                lease,
                polls_left: 0,
            } => {
                drop(lease);
                self.rounds_left -= 1;
                if self.rounds_left == 0 {
                    return;
                }
                self.waker.wake_by_ref();
                Stage::Arriving
            }
            Stage::Served { lease, polls_left } => {
                self.waker.wake_by_ref();
                Stage::Served {
                    lease,
                    polls_left: polls_left - 1,
                }
            }
            Stage::Done => Stage::Done,
        };
    }

    fn wait(&self, ticket: Ticket, balancer: &mut Balancer, random: &mut Rng) -> Stage {
        let mut cx = Context::from_waker(&self.waker);
        let tried = Tried::new();
        match balancer.poll_turn(ticket, &Wanted::plain(&tried, tick()), &mut cx, random) {
            Poll::Ready(Pick::Endpoint(lease, _)) => self.serve(lease, random),
            Poll::Ready(_) => panic!("an endpoint is up"),
            Poll::Pending => Stage::Waiting(ticket),
        }
    }

    fn serve(&self, lease: Lease, random: &mut Rng) -> Stage {
        self.waker.wake_by_ref();
        Stage::Served {
            lease,
            polls_left: random.u32(..3),
        }
    }
}

/// A worker with a few requests, each polled only when woken: a lost wake-up stops it for good.
/// Returns how often it was woken under each order.
fn run_worker(pool: &Arc<Pool>, worker: usize, deadline: Instant) -> [u32; 2] {
    let mut woken = [0; 2];
    let mut balancer = Balancer::new(Arc::clone(pool), worker);
    let mut random = Rng::with_seed(worker as u64);
    let mut requests: Vec<_> = (0..4)
        .map(|_| {
            let (bell, waker) = bell();
            waker.wake_by_ref();
            Request {
                stage: Stage::Arriving,
                rounds_left: 2_000,
                bell,
                waker,
            }
        })
        .collect();
    while requests
        .iter()
        .any(|request| !matches!(request.stage, Stage::Done))
    {
        let mut any_rung = false;
        for request in &mut requests {
            if rung(&request.bell) {
                any_rung = true;
                woken[usize::from(pool.queue.is_newest_first())] += 1;
                request.advance(&mut balancer, &mut random);
            }
        }
        if !any_rung {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "worker {worker} was never woken");
            thread::park_timeout(left);
        }
    }
    woken
}

#[test]
fn no_wake_up_is_lost_between_workers() {
    const WORKERS: usize = 4;
    let pool = pool_of(&[1, 2], WORKERS);
    let deadline = Instant::now() + Duration::from_secs(60);
    let woken = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let pool = &pool;
                scope.spawn(move || run_worker(pool, worker, deadline))
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().expect("it does not panic"))
            .fold([0; 2], |[a, b], [c, d]| [a + c, b + d])
    });
    assert_eq!(pool.queue.waiting(), 0);
    assert!(
        woken.iter().all(|&count| count > 100),
        "one order was hardly seen: {woken:?}"
    );
}
