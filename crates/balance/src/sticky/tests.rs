use std::time::Duration;

use fastrand::Rng;
use proptest::prelude::{prop, prop_assert, proptest};

use crate::fixture::{endpoint, pool, settings, tick, tried_of};
use crate::{
    AdminState, Availability, Balancer, DEFAULT_POLICY, HashKey, Lease, Pick, PoolSettings,
    Session, StickyBy, StickySettings, Wanted, Why,
};

fn by_key() -> StickySettings {
    StickySettings::by(StickyBy::Key(HashKey::Cookie("id".into())))
}

/// Endpoints up, each with this `max_requests` (0: unlimited).
fn balancer(sticky: StickySettings, max_requests: &[u32]) -> Balancer {
    let settings = PoolSettings {
        sticky: Some(sticky),
        ..settings(DEFAULT_POLICY)
    };
    let endpoints = max_requests.iter().map(|&max| endpoint(1, max)).collect();
    Balancer::new(pool(settings, endpoints, 1), 0)
}

/// A session that the table has to know.
fn session(number: u64) -> Session {
    Session {
        id: id(number),
        owner: None,
    }
}

/// Spread as hashes are.
fn id(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn ask(balancer: &mut Balancer, session: Session, tried: &[usize]) -> Pick {
    let tried = tried_of(tried);
    let wanted = Wanted {
        session: Some(session),
        ..Wanted::plain(&tried, tick())
    };
    balancer.pick(&wanted, &mut Rng::with_seed(1))
}

fn lease(balancer: &mut Balancer, session: Session, tried: &[usize]) -> (Lease, Why) {
    match ask(balancer, session, tried) {
        Pick::Endpoint(lease, why) => (lease, why),
        Pick::Full | Pick::CircuitOpen | Pick::Refused => panic!("no endpoint"),
    }
}

fn place(balancer: &mut Balancer, session: Session, tried: &[usize]) -> (usize, Why) {
    let (lease, why) = lease(balancer, session, tried);
    (lease.index(), why)
}

fn sessions_of(balancer: &Balancer, index: usize) -> usize {
    let counts = balancer.pool().session_counts(tick());
    counts.expect("it is sticky")[index]
}

#[test]
fn a_session_stays_where_its_first_request_went() {
    let mut balancer = balancer(by_key(), &[0, 0, 0]);
    for id in 0..30 {
        let (first, why) = place(&mut balancer, session(id), &[]);
        assert_eq!(why, Why::Policy);
        for _ in 0..3 {
            let again = place(&mut balancer, session(id), &[]);
            assert_eq!(again, (first, Why::Sticky));
        }
    }
    let counts = [0, 1, 2].map(|index| sessions_of(&balancer, index));
    assert_eq!(counts.iter().sum::<usize>(), 30);
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

#[test]
fn a_session_stays_although_its_endpoint_has_more_to_do_than_others() {
    let mut balancer = balancer(by_key(), &[0, 0]);
    let (first, _) = lease(&mut balancer, session(1), &[]);
    let leases: Vec<Lease> = (0..10)
        .map(|_| lease(&mut balancer, session(1), &[]).0)
        .collect();
    assert!(leases.iter().all(|lease| lease.index() == first.index()));
}

#[test]
fn a_session_moves_for_good_when_its_endpoint_is_down() {
    let mut balancer = balancer(by_key(), &[0, 0]);
    let (first, _) = place(&mut balancer, session(1), &[]);
    let other = 1 - first;
    balancer.pool().set_availability(first, Availability::Down);
    assert_eq!(place(&mut balancer, session(1), &[]), (other, Why::Moved));
    balancer.pool().set_availability(first, Availability::Up);
    assert_eq!(place(&mut balancer, session(1), &[]), (other, Why::Sticky));
    assert_eq!(sessions_of(&balancer, first), 0);
}

#[test]
fn a_session_moves_within_a_request_that_its_endpoint_failed() {
    let mut balancer = balancer(by_key(), &[0, 0]);
    let (first, _) = place(&mut balancer, session(1), &[]);
    let other = 1 - first;
    let moved = place(&mut balancer, session(1), &[first]);
    assert_eq!(moved, (other, Why::Moved));
    assert_eq!(place(&mut balancer, session(1), &[]), (other, Why::Sticky));
}

#[test]
fn with_all_endpoints_down_a_session_is_tried_where_it_is() {
    let mut balancer = balancer(by_key(), &[0, 0]);
    let first = [1, 2].map(|id| place(&mut balancer, session(id), &[]).0);
    (0..2).for_each(|index| balancer.pool().set_availability(index, Availability::Down));
    let then = [1, 2].map(|id| place(&mut balancer, session(id), &[]));
    assert_eq!(then, first.map(|index| (index, Why::FailOpen)));
}

#[test]
fn a_draining_endpoint_keeps_its_sessions_and_gets_no_others() {
    let mut balancer = balancer(by_key(), &[0, 0]);
    let (draining, _) = place(&mut balancer, session(1), &[]);
    let pool = balancer.pool().clone();
    pool.set_admin_state(draining, AdminState::Drain);
    for id in 2..20 {
        assert_ne!(place(&mut balancer, session(id), &[]).0, draining);
    }
    let kept = place(&mut balancer, session(1), &[]);
    assert_eq!(kept, (draining, Why::Sticky));
    assert_eq!(sessions_of(&balancer, draining), 1);

    pool.set_admin_state(draining, AdminState::Maintenance);
    assert_ne!(place(&mut balancer, session(1), &[]).0, draining);
    assert_eq!(sessions_of(&balancer, draining), 0);
}

#[test]
fn a_full_endpoint_loses_the_session_unless_sessions_may_not_move() {
    for is_strict in [false, true] {
        let sticky = StickySettings {
            is_strict,
            ..by_key()
        };
        let mut balancer = balancer(sticky, &[1, 1]);
        let (first, _) = lease(&mut balancer, session(1), &[]);
        match ask(&mut balancer, session(1), &[]) {
            Pick::Endpoint(second, why) if !is_strict => {
                assert_eq!((second.index(), why), (1 - first.index(), Why::Moved));
            }
            Pick::Refused if is_strict => {}
            _ => panic!("strict: {is_strict}"),
        }
    }
}

#[test]
fn a_session_that_may_not_move_is_refused_without_its_endpoint() {
    let sticky = StickySettings {
        is_strict: true,
        ..by_key()
    };
    let mut balancer = balancer(sticky, &[0, 0]);
    let (first, _) = place(&mut balancer, session(1), &[]);
    let again = place(&mut balancer, session(1), &[first]);
    assert_eq!(again, (first, Why::AlreadyTried), "where else");
    balancer.pool().set_availability(first, Availability::Down);
    assert!(matches!(ask(&mut balancer, session(1), &[]), Pick::Refused));
    balancer.pool().set_availability(first, Availability::Up);
    assert_eq!(place(&mut balancer, session(1), &[]), (first, Why::Sticky));
}

#[test]
fn the_endpoint_that_a_request_names_goes_before_the_one_that_is_remembered() {
    let mut balancer = balancer(StickySettings::by(StickyBy::Cookie("r".into())), &[0; 3]);
    let named = |owner| Session {
        id: id(1),
        owner: Some(owner),
    };
    // As after a restart: nothing is remembered.
    assert_eq!(place(&mut balancer, named(2), &[]), (2, Why::Sticky));
    assert_eq!(place(&mut balancer, session(1), &[]), (2, Why::Sticky));
    // As when another process has moved it.
    assert_eq!(place(&mut balancer, named(0), &[]), (0, Why::Sticky));
    // As when we have, and the client does not know yet.
    balancer.pool().set_availability(0, Availability::Down);
    let (moved, _) = place(&mut balancer, named(0), &[]);
    for _ in 0..5 {
        let again = place(&mut balancer, named(0), &[]);
        assert_eq!(again, (moved, Why::Sticky));
    }
}

#[test]
fn learned_sessions_are_made_by_endpoints_alone() {
    let by = StickyBy::Learned(HashKey::Header("x-session".into()));
    let mut balancer = balancer(StickySettings::by(by), &[0, 0]);
    for _ in 0..3 {
        assert_eq!(place(&mut balancer, session(1), &[]).1, Why::Policy);
    }
    assert_eq!(sessions_of(&balancer, 0) + sessions_of(&balancer, 1), 0);
    balancer.pool().learn_session(id(1), 1, tick());
    assert_eq!(place(&mut balancer, session(1), &[]), (1, Why::Sticky));
    balancer.pool().learn_session(id(1), 0, tick());
    assert_eq!(place(&mut balancer, session(1), &[]), (0, Why::Sticky));
    balancer.pool().set_availability(0, Availability::Down);
    assert_eq!(place(&mut balancer, session(1), &[]), (1, Why::Moved));
    assert_eq!(place(&mut balancer, session(1), &[]), (1, Why::Sticky));
}

#[test]
fn a_session_is_forgotten_when_it_idles_too_long() {
    let sticky = StickySettings {
        idle: Duration::from_millis(5),
        ..by_key()
    };
    let mut balancer = balancer(sticky, &[0, 0]);
    place(&mut balancer, session(1), &[]);
    // Each tick is a millisecond.
    for _ in 0..10 {
        tick();
    }
    assert_eq!(place(&mut balancer, session(1), &[]).1, Why::Policy);
}

proptest! {
    #[test]
    fn a_bounded_endpoint_never_has_more_than_its_multiple_of_the_fair_share(
        picks in prop::collection::vec(0..4u64, 1..100),
    ) {
        let sticky = StickySettings { bounded_load: Some(1.5), ..by_key() };
        let mut balancer = balancer(sticky, &[0; 4]);
        let mut leases: Vec<Lease> = Vec::new();
        for (total, id) in picks.into_iter().enumerate() {
            let (lease, why) = lease(&mut balancer, session(id), &[]);
            let index = lease.index();
            leases.push(lease);
            let in_flight = leases.iter().filter(|lease| lease.index() == index).count();
            let cap = (1.5 * (total + 1) as f64 / 4.0).ceil();
            if why == Why::Sticky {
                prop_assert!(in_flight as f64 <= cap, "{in_flight} of {}", total + 1);
            }
        }
    }
}
