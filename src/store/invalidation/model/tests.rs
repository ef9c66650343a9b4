//! The protocol holds for every seed, and for none when one of its rules is undone.

use std::collections::BTreeMap;

use super::super::correction::Correction;
use super::super::health::Health;
use super::super::Validity;
use super::node::CacheRule;
use super::oracle::{Answer, Mode};
use super::server::ServerRule;
use super::world::{Mistake, World, START};

const SECOND: u64 = 1_000_000;

/// One history: six seconds of faults, four of calm, and the final sweep.
fn run(seed: u64, mistake: Option<Mistake>) -> World {
    let mut world = World::new(seed, mistake);
    world.run_until(START + 6 * SECOND);
    world.calm();
    world.run_until(START + 10 * SECOND);
    sweep(&mut world);
    world
}

fn sweep(world: &mut World) {
    for process in 0..world.processes.len() {
        let this = &world.processes[process];
        let (view, now) = (this.view.clone(), this.now(world.now));
        if view.soundness.health(now) != Health::Sound || this.mirror.behind() > 0 {
            world
                .oracle
                .violate(format!("process {process} does not recover"));
        }
        let near = this.near.values().cloned();
        for entry in near
            .chain(world.server.entries.values().cloned())
            .collect::<Vec<_>>()
        {
            let validity = view
                .relaxed(entry.fence, &entry.tags, now)
                .unwrap_or(Validity::Hard);
            world.oracle.sweep(&Answer {
                process,
                mode: Mode::Relaxed,
                began: world.now,
                validity,
                entry: &entry,
            });
        }
    }
}

fn seeds(default: u64) -> u64 {
    let asked = std::env::var("LARDER_MODEL_SEEDS").ok();
    asked
        .and_then(|seeds| seeds.parse().ok())
        .unwrap_or(default)
}

/// What has to have happened, or the run proves nothing.
const EXPECTED: [&str; 39] = [
    "a former master came back",
    "acknowledged",
    "buckets asked for",
    "callers gone",
    "clock broken",
    "clock evicted",
    "clock unreachable",
    "connection killed",
    "cut off",
    "deferred",
    "derived",
    "failed over",
    "flushed",
    "followers",
    "followers refused",
    "full",
    "gaps",
    "graced hits",
    "hard invalidations",
    "hits from the server",
    "late writes",
    "lives of the clock",
    "loads",
    "machine asleep",
    "made",
    "messages lost",
    "messages lost silently",
    "overtaken",
    "publishing forbidden",
    "refusals",
    "relaxed hits",
    "replays",
    "replies held back",
    "replies slow",
    "restarted",
    "server frozen",
    "server's time set",
    "soft invalidations",
    "strict hits",
];

#[test]
#[allow(clippy::print_stdout, reason = "the run tells what it did")]
fn no_history_of_faults_makes_a_purged_response_reappear() {
    let mut counts = BTreeMap::new();
    for seed in 1..=seeds(60) {
        let world = run(seed, None);
        assert!(
            world.oracle.violations.is_empty(),
            "seed {seed}: {:#?}",
            world.oracle.violations
        );
        for (what, count) in world.oracle.counts {
            *counts.entry(what).or_insert(0) += count;
        }
    }
    println!("{} seeds: {counts:#?}", seeds(60));
    for what in EXPECTED {
        assert!(
            counts.get(what).is_some_and(|count| *count > 0),
            "no {what}"
        );
    }
}

/// Looks for a seed that shows the mistake.
#[allow(clippy::print_stdout, reason = "the run tells what it did")]
fn must_show(mistake: Mistake) {
    for seed in 1..=seeds(200) {
        let world = run(seed, Some(mistake));
        if let Some(violation) = world.oracle.violations.first() {
            println!("{mistake:?} shows with seed {seed}: {violation}");
            return;
        }
    }
    panic!("{mistake:?} undone, and no seed shows it");
}

macro_rules! undone {
    ($($name:ident: $mistake:expr,)*) => {
        $(#[test] fn $name() { must_show($mistake); })*
    };
}

undone! {
    without_adopting_the_bucket_count: Mistake::Protocol(Correction::AdoptBits),
    without_epochs: Mistake::Protocol(Correction::CompareEpochs),
    with_answers_from_a_former_life: Mistake::Protocol(Correction::DropOutdated),
    without_gap_detection: Mistake::Protocol(Correction::DetectGaps),
    with_heartbeats_that_count_from_their_arrival: Mistake::Protocol(Correction::CountFromSending),
    with_heartbeats_that_vouch_before_they_are_reached: Mistake::Protocol(Correction::ReachFirst),
    with_a_grace_of_its_own_for_what_redis_held: Mistake::Protocol(Correction::GraceFromMirror),
    without_an_overlay: Mistake::Protocol(Correction::KeepOverlay),
    with_invented_numbers: Mistake::Protocol(Correction::InventNoNumber),
    with_a_journal_that_forgets: Mistake::Protocol(Correction::OverflowPurges),
    with_soft_before_hard: Mistake::Protocol(Correction::HardBeatsSoft),
    with_a_lost_clock_read_as_zeroes: Mistake::Protocol(Correction::EmptyIsMiss),
    without_run_ids: Mistake::Server(ServerRule::CompareRunIds),
    without_numbers_that_grow_from_life_to_life: Mistake::Server(ServerRule::CompareLives),
    without_a_new_life_for_a_lost_clock: Mistake::Server(ServerRule::NewLifeWhenLost),
    with_invalidations_refused_by_a_full_server: Mistake::Server(ServerRule::InvalidateWhenFull),
    with_errors_of_publish_that_escape: Mistake::Server(ServerRule::SurvivePublish),
    with_heartbeats_from_replicas: Mistake::Server(ServerRule::AskMaster),
    with_fences_taken_after_the_call: Mistake::Cache(CacheRule::FenceFirst),
    with_followers_that_take_what_comes: Mistake::Cache(CacheRule::CheckFollowers),
    with_derived_responses_that_look_new: Mistake::Cache(CacheRule::InheritFence),
    with_invalidations_that_die_with_their_caller: Mistake::Cache(CacheRule::SurviveCaller),
    with_sleep_that_does_not_count: Mistake::Cache(CacheRule::CountSleep),
}
