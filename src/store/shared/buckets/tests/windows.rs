//! Four processes and an upstream that counts in windows, by a clock that moves as fast as it is told.

use redis::Pipeline;

use super::model::{clocked, scripted, set_clock, BATCH};
use super::{steps, Dice, Duration, Server};
use crate::policy::bucket::Quota;
use crate::store::shared::buckets::scripts::{batch_args, Run};
use crate::store::shared::buckets::Policy;

/// Calls that passed, and when (microseconds).
type Passed = Vec<(i128, u64)>;

/// The most that any window of this length sees, wherever it begins.
fn most_sliding(passed: &Passed, window: i128) -> u64 {
    let (mut most, mut within, mut first) = (0, 0, 0);
    for (at, calls) in passed {
        within += calls;
        while passed[first].0 + window <= *at {
            within -= passed[first].1;
            first += 1;
        }
        most = most.max(within);
    }
    most
}

/// The most that any of the windows sees that follow one another.
fn most_fixed(passed: &Passed, window: i128) -> u64 {
    let same = passed.chunk_by(|(a, _), (b, _)| a / window == b / window);
    let counts = same.map(|calls| calls.iter().map(|(_, calls)| calls).sum());
    counts.max().unwrap_or_default()
}

#[tokio::test]
async fn no_window_of_an_upstream_sees_more_from_four_processes_than_it_allows() {
    let server = Server::start();
    let mut connection = scripted(&server).await;
    let sha = redis::Script::new(&clocked(BATCH)).get_hash().to_owned();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut now = 1_760_000_000_000_000_i128;
    // So many per so many milliseconds, and which part of the calls. A small one is asked in vain more often.
    let upstreams = [
        (1, 50, 0.02),
        (10, 100, 0.02),
        (97, 500, 0.32),
        (1_000, 300, 0.32),
        (5_000, 1_000, 0.33),
    ];
    for (number, (count, window, part)) in upstreams.into_iter().enumerate() {
        let enough = (steps(20_000) as f64 * part) as u64;
        let quota = Quota::strict(count, Duration::from_millis(window));
        let ask = Policy::new("upstream", &quota).ask(1);
        let window = i128::from(window) * 1_000;
        let saved = quota.refill_time().as_micros() as u64;
        let (mut passed, mut calls, mut idle) = (Passed::new(), 0, 0);
        let mut by_process = [0; 4];
        let began = now;
        while calls < enough {
            let (mut pipeline, mut asked) = (Pipeline::new(), Vec::new());
            for _ in 0..500 {
                // Often enough that what a bucket cannot save is hardly ever lost.
                let apart = saved / dice.one_of(&[40, 40, 4]);
                now += i128::from(dice.roll(apart + 1));
                // Sometimes nobody asks, so that all is saved that can be.
                if dice.roll(3_000) == 0 {
                    let pause = i128::from(dice.roll(3 * window as u64));
                    (now, idle) = (now + pause, idle + (pause - i128::from(saved)).max(0));
                }
                set_clock(&mut pipeline, now);
                let call = pipeline.cmd("EVALSHA").arg(&sha).arg(1);
                let run = Run {
                    ask,
                    number: 1 + dice.roll(64),
                };
                call.arg(format!("upstream:{number}"));
                call.arg(batch_args(0.0, &[run]));
                asked.push((now, dice.roll(4) as usize));
            }
            let answers: Vec<(u64, u64)> = pipeline.query_async(&mut connection).await.unwrap();
            for ((at, process), (_, granted)) in asked.into_iter().zip(answers) {
                if granted > 0 {
                    passed.push((at, granted));
                    by_process[process] += granted;
                    calls += granted;
                }
            }
        }
        let (fixed, sliding) = (most_fixed(&passed, window), most_sliding(&passed, window));
        let used = calls as f64 * window as f64 / ((now - began - idle) as f64 * count as f64);
        println!(
            "{count} per {} ms: {calls} calls of four processes {by_process:?}, at most {fixed} in a fixed and \
             {sliding} in a sliding window, {used:.3} of the quota used",
            window / 1_000
        );
        assert!(fixed <= sliding && sliding <= count, "{sliding} of {count}");
        // Of a bucket of one, whoever asks at random loses some.
        assert!(count < 90 || used >= 0.88, "{used}");
    }
}
