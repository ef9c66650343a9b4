use proptest::prelude::*;

use super::*;

fn terms(quota: Quota) -> Terms {
    Terms::of(&quota).unwrap()
}

#[test]
fn a_full_bucket_admits_its_capacity_and_then_one_per_refilled_token() {
    let table = [
        (Quota::per_second(3).capacity(10), 10, 333_333_334),
        (Quota::per_second(7), 7, 142_857_143),
        (Quota::per_minute(120), 120, 500_000_000),
        (Quota::per_second(99_991), 99_991, 10_001),
        (Quota::new(1, LONGEST), 1, 316_224_000_000_000_000),
    ];
    for (quota, burst, apart) in table {
        let terms = terms(quota);
        let now = |nanos: u64| terms.at(1_000_000_000 + nanos);
        let mut bucket = Bucket::default();
        for left in (0..burst).rev() {
            let decision;
            (bucket, decision) = bucket.take(&terms, 1, now(0));
            assert!(
                matches!(decision, Decision::Admitted { left: l, .. } if l == left),
                "{quota:?}"
            );
        }
        for n in 1..=3 {
            let (same, refused) = bucket.take(&terms, 1, now(apart * n - 12));
            assert!(!refused.is_admitted(), "{quota:?}: {n}");
            assert_eq!(same, bucket, "a refusal changes nothing");
            let admitted;
            (bucket, admitted) = bucket.take(&terms, 1, now(apart * n));
            assert!(admitted.is_admitted(), "{quota:?}: {n}");
        }
    }
}

#[test]
fn what_costs_more_than_the_capacity_never_passes_and_what_costs_nothing_always_does() {
    let terms = terms(Quota::per_second(5));
    let now = terms.at(7);
    let full = Bucket::default();
    assert_eq!(full.take(&terms, 6, now), (full, Decision::Never));
    assert_eq!(full.take(&terms, u64::MAX, now), (full, Decision::Never));
    let (empty, taken) = full.take(&terms, 5, now);
    assert!(matches!(taken, Decision::Admitted { left: 0, .. }));
    assert!(empty.take(&terms, 0, now).1.is_admitted());
    assert!(!empty.take(&terms, 1, now).1.is_admitted());
}

#[test]
fn refunds_end_at_full_and_debts_at_their_limit() {
    let terms = terms(Quota::per_second(10));
    let now = terms.at(5_000_000_000);
    let one = terms.price(1);
    let taken = Bucket::default().take(&terms, 4, now).0;
    assert_eq!(taken.refund(3 * one, now).debt(now), one);
    assert_eq!(taken.refund(90 * one, now).debt(now), 0);
    let refunded = taken.refund(90 * one, now).take(&terms, 10, now);
    assert!(refunded.1.is_admitted(), "full");
    assert!(!refunded.0.take(&terms, 1, now).1.is_admitted(), "no more");

    let owing = taken.charge(&terms, 100 * one, 5 * one, now);
    assert_eq!(owing.debt(now), 15 * one);
    assert_eq!(
        owing.charge(&terms, one, 0, now),
        owing,
        "a limit is no gift"
    );
    let paused = owing.pause(&terms, terms.time(Duration::from_secs(60)), now);
    assert!(!paused
        .take(&terms, 1, terms.at(64_999_999_999))
        .1
        .is_admitted());
    assert!(paused
        .take(&terms, 1, terms.at(65_200_000_000))
        .1
        .is_admitted());
}

#[test]
fn contradictions_are_told_with_the_line_to_write() {
    let day = Duration::from_secs(86_400);
    for quota in [
        Quota::per_second(0),
        Quota::new(1, Duration::ZERO),
        Quota::per_second(1).capacity(0),
        Quota::per_second(2_000_000_000),
        Quota::new(MOST + 1, LONGEST),
        Quota::new(1, day).capacity(10_000),
        Quota::new(u64::MAX, Duration::MAX),
    ] {
        assert!(Terms::of(&quota).is_err(), "{quota:?}");
    }
    assert!(Terms::of(&Quota::new(1, day).capacity(3_000)).is_ok());
}

#[test]
fn a_share_is_a_share_of_rate_and_capacity() {
    let share = Quota::per_second(100).capacity(10).share(4);
    assert_eq!(share.tokens(), 2);
    assert_eq!(
        (share.count(), share.period()),
        (100, Duration::from_secs(4))
    );
    assert_eq!(Quota::per_second(1).share(9).tokens(), 1);
}

#[test]
fn a_new_bucket_holds_its_initial_level_fills_and_is_new_again_long_after_it_was_full() {
    let terms = terms(Quota::per_second(10)).starting_with(2);
    let now = |millis: u64| terms.at(5_000_000_000 + millis * 1_000_000);
    let new = Bucket::default();
    let left = |(_, decision): (Bucket, Decision)| match decision {
        Decision::Admitted { left, .. } => Some(left),
        _ => None,
    };
    assert_eq!(left(new.take(&terms, 1, now(0))), Some(1));
    assert_eq!(left(new.take(&terms, 0, now(0))), Some(2));
    assert_eq!(new.take(&terms, 0, now(0)).0, new, "which nobody remembers");
    let (refused, decision) = new.take(&terms, 3, now(0));
    assert_eq!(
        decision,
        Decision::Refused {
            wait: Duration::from_millis(100)
        }
    );
    // From then on it fills, and what is full can be used.
    assert_eq!(left(refused.take(&terms, 3, now(100))), Some(0));
    assert_eq!(left(refused.take(&terms, 10, now(800))), Some(0));
    assert_eq!(left(refused.take(&terms, 0, now(1_799))), Some(10));
    assert_eq!(
        left(refused.take(&terms, 0, now(1_800))),
        Some(2),
        "a second after it was full"
    );
    // What is given back makes it no fuller than full, and never new.
    let full = refused.refund(terms.price(90), now(1_700));
    assert_eq!(left(full.take(&terms, 0, now(1_700))), Some(10));
    assert_eq!(new.refund(terms.price(5), now(0)), new);
    let charged = new.charge(&terms, terms.price(1), 0, now(0));
    assert_eq!(left(charged.take(&terms, 0, now(0))), Some(1));
}

/// A bucket in exact arithmetic: what it lacks to be full, times `count`, in nanoseconds.
struct Exact {
    quota: Quota,
    lacking: u128,
    at: u64,
    /// What it lacks when nobody remembers it, and for how long it has been full, times `count`.
    initial: u128,
    idle: u128,
}

impl Exact {
    fn new(quota: Quota, initial: u64) -> Self {
        let initial = u128::from(quota.capacity - initial) * quota.period.as_nanos();
        Self {
            quota,
            lacking: initial,
            at: 1,
            initial,
            idle: 0,
        }
    }

    /// By how much it is from being forgotten; nothing or less, and it is.
    fn refill(&mut self, now: u64) -> i128 {
        let refilled = u128::from(now - self.at) * u128::from(self.quota.count);
        self.idle += refilled.saturating_sub(self.lacking);
        self.lacking = self.lacking.saturating_sub(refilled);
        self.at = now;
        let memory = u128::from(self.quota.capacity) * self.quota.period.as_nanos();
        let margin = i128::try_from(memory).unwrap() - i128::try_from(self.idle).unwrap();
        if margin <= 0 {
            self.lacking = self.initial;
        }
        margin
    }

    /// What would be left: negative if that is too little.
    fn left_after(&self, cost: u64) -> i128 {
        let period = self.quota.period.as_nanos();
        let all = u128::from(self.quota.capacity) * period;
        let used = self.lacking + u128::from(cost) * period;
        i128::try_from(all).unwrap() - i128::try_from(used).unwrap()
    }
}

fn quotas() -> impl Strategy<Value = Quota> {
    let count = prop_oneof![1..20_u64, 1..100_000_u64, 1..1_000_000_000_u64];
    let period = prop_oneof![
        1..5_000_000_000_u64,
        Just(1_000_000_000),
        Just(60_000_000_000)
    ];
    (count, period, 1..1000_u64).prop_map(|(count, period, capacity)| {
        Quota::new(count.min(period), Duration::from_nanos(period)).capacity(capacity)
    })
}

proptest! {
    // Some 10^6 steps in all.
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    /// They may differ where exact arithmetic is within a few nanoseconds of deciding otherwise, because
    /// the clock is rounded; never by more, however many steps are taken.
    #[test]
    fn every_step_agrees_with_a_bucket_in_exact_arithmetic(
        quota in quotas(),
        level in prop_oneof![Just(1.0), 0.0..1.0],
        steps in prop::collection::vec((0..4_u8, 0..2_000_u64, 0..40_u64), 200),
    ) {
        let initial = (quota.capacity as f64 * level) as u64;
        let terms = terms(quota).starting_with(initial);
        let mut exact = Exact::new(quota, initial);
        let (mut bucket, mut now, mut known) = (Bucket::default(), 1, false);
        let token = (quota.period.as_nanos() / u128::from(quota.count)).max(1) as u64;
        let slack = i128::from(8 * quota.count);
        for (kind, elapsed, cost) in steps {
            now += elapsed * token / 97;
            if !known {
                exact.at = now;
                (exact.lacking, exact.idle) = (exact.initial, 0);
            }
            let margin = exact.refill(now);
            if exact.initial > 0 && margin.abs() < slack {
                return Ok(()); // Forgotten or not: the clock is rounded.
            }
            known &= margin > 0;
            if margin <= 0 {
                exact.idle = 0;
            }
            let cost = cost.min(quota.capacity);
            if kind == 0 {
                let price = u128::from(cost) * quota.period.as_nanos();
                if known {
                    exact.lacking = exact.lacking.saturating_sub(price);
                }
                bucket = bucket.refund(terms.price(cost), terms.at(now));
                continue;
            }
            let left = exact.left_after(cost);
            known |= cost > 0;
            let decision;
            (bucket, decision) = bucket.take(&terms, cost, terms.at(now));
            match decision {
                Decision::Admitted { .. } => {
                    prop_assert!(cost == 0 || left >= -slack, "admitted with {left}");
                    exact.lacking += u128::from(cost) * quota.period.as_nanos();
                    if exact.lacking > 0 {
                        exact.idle = 0;
                    }
                }
                Decision::Refused { wait } => {
                    prop_assert!(left < slack, "refused with {left}");
                    let later = now + u64::try_from(wait.as_nanos()).unwrap();
                    prop_assert!(bucket.take(&terms, cost, terms.at(later)).1.is_admitted());
                }
                other => prop_assert!(false, "{other:?} of {cost}"),
            }
        }
    }
}
