//! An upstream that counts in windows, of which nobody knows where they begin.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use super::{pacer, settle, Duration};
use larder::limit::wait::Priority;
use larder::limit::Quota;

/// The most that any window of this length holds, which begins anywhere.
fn most(times: &[u64], window: u64) -> usize {
    let (mut most, mut first) = (0, 0);
    for (last, time) in times.iter().enumerate() {
        while times[first] + window <= *time {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

#[tokio::test]
async fn no_window_of_an_upstream_ever_sees_more_than_it_allows() {
    for (count, window) in [(1, 50), (2, 100), (10, 100), (97, 500), (1_000, 300)] {
        let quota = Quota::strict(count, Duration::from_millis(window));
        let (pacer, clock) = pacer(quota, |builder| builder.max_queue(10_000));
        let hungry = Arc::new(AtomicBool::new(true));
        let callers = [1, 2, 3].map(|_| {
            let (pacer, hungry) = (pacer.clone(), Arc::clone(&hungry));
            tokio::spawn(async move {
                loop {
                    if hungry.load(Ordering::SeqCst) {
                        let _ = pacer.ready("a", Priority::Critical).await;
                    }
                    tokio::task::yield_now().await;
                }
            })
        });
        let (mut times, mut busy) = (Vec::new(), 0);
        for now in 0..window * 8 {
            settle().await;
            times.resize(pacer.stats().granted[0] as usize, now);
            // For some windows everybody asks; then nobody for one, so that all is saved that can be.
            let asks = now % (window * 4) < window * 3;
            hungry.store(asks, Ordering::SeqCst);
            busy += u64::from(asks);
            clock.advance(Duration::from_millis(1));
        }
        callers.into_iter().for_each(|caller| caller.abort());
        let most = most(&times, window) as u64;
        let share = times.len() as f64 * window as f64 / (busy * count) as f64;
        println!(
            "{count} per {window} ms: at most {most} in any window, {share:.2} of the quota used"
        );
        assert!(most <= count, "{most} of {count}");
        // A clock of milliseconds rounds up what a small bucket cannot save.
        assert!(count < 90 || share >= 0.88, "{share}");
    }
}
