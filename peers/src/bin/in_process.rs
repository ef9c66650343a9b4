//! Time per hit, calls for one cold key, and what a second thread brings.

use std::time::Duration;

use axum::body::Body;
use http::Response;
use larder_peers::driver::{drive, Driver, BATCH};
use larder_peers::origin::{Origin, Requests};
use larder_peers::stats::{median, median_ratio, quantile};
use larder_peers::subjects;
use tower::service_fn;

fn main() {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    let names: Vec<_> = subjects::ALL.iter().map(|subject| subject.name).collect();
    println!("| | {} |", names.join(" | "));
    println!("|{}", " --- |".repeat(names.len() + 1));
    if wanted("hits") {
        hits();
    }
    if wanted("cold") {
        cold_key();
    }
    if wanted("threads") {
        two_threads();
    }
}

fn hits() {
    for (size, length, rounds) in [
        ("256 B", 256, 400),
        ("4 KiB", 4 << 10, 1000),
        ("64 KiB", 64 << 10, 400),
        ("1 MiB", 1 << 20, 50),
    ] {
        let times = time_hits(Origin::prebuilt(length), rounds);
        let ratios = times.iter().map(|time| median_ratio(time, &times[0]));
        row(&format!("hit, {size}, time over limit"), ratios, 2);
        let times = times.iter().map(|time| median(time.clone()));
        row(&format!("hit, {size}, ns"), times, 0);
    }
}

fn cold_key() {
    let calls = subjects::ALL.iter().map(|subject| {
        let origin = Origin::slow();
        let requests = Requests::for_one_page().batch(256);
        (subject.start)(origin).send_at_once(requests);
        origin.calls() as f64
    });
    row("256 requests, one cold key, calls", calls, 0);
}

fn two_threads() {
    let mut drivers = warm(Origin::prebuilt(4 << 10));
    // What the machine gives at this moment: it has other things to do.
    drivers.push(drive(service_fn(|_request| async {
        Ok(Response::new(Body::empty()))
    })));
    let mut ratios = scaling(&drivers, 101);
    let idle = ratios.pop().unwrap_or_default();
    row("two threads over one thread", ratios, 2);
    println!("\nTwo threads over one thread, a service that does nothing: {idle:.2}");
}

fn row(name: &str, values: impl IntoIterator<Item = f64>, decimals: usize) {
    let cells = values
        .into_iter()
        .map(|value| format!(" {value:.decimals$} |"));
    println!("| {name} |{}", cells.collect::<String>());
}

/// Nanoseconds per hit, by subject and round. A round visits every subject, so that noise hits all alike.
fn time_hits(origin: &'static Origin, rounds: usize) -> Vec<Vec<f64>> {
    const BATCHES: usize = 4;
    let requests = Requests::for_one_page();
    let mut subjects = warm(origin);
    let mut times = vec![Vec::new(); subjects.len()];
    for _ in 0..rounds {
        for (subject, times) in subjects.iter_mut().zip(&mut times) {
            // Brings the subject back into the processor's caches.
            subject.send(requests.batch(BATCH));
            let spent: Duration = (0..BATCHES)
                .map(|_| subject.send(requests.batch(BATCH)))
                .sum();
            times.push(spent.as_nanos() as f64 / (BATCH * BATCHES) as f64);
        }
    }
    times
}

/// Throughput of two threads over that of one, by driver.
///
/// Whoever else is busy on the machine takes a core from one of two threads, never adds one; so the better windows tell.
fn scaling(drivers: &[Box<dyn Driver>], rounds: usize) -> Vec<f64> {
    const WINDOW: Duration = Duration::from_millis(20);
    let mut rates = vec![(Vec::new(), Vec::new()); drivers.len()];
    for _ in 0..rounds {
        for (driver, (one, two)) in drivers.iter().zip(&mut rates) {
            one.push(driver.throughput(1, WINDOW));
            two.push(driver.throughput(2, WINDOW));
        }
    }
    let ratio = |(one, two)| quantile(two, 0.9) / quantile(one, 0.9);
    rates.into_iter().map(ratio).collect()
}

/// Every subject with the one key stored, after its answer was checked.
fn warm(origin: &'static Origin) -> Vec<Box<dyn Driver>> {
    let warmed = subjects::ALL.iter().map(|subject| {
        let mut driver = (subject.start)(origin);
        driver.check(origin);
        driver
    });
    warmed.collect()
}
