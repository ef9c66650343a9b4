//! Allocations per hit and bytes per stored response.
//!
//! Apart from `in_process`, because an allocator that counts slows down exactly those who allocate, and its counters
//! are shared between threads.

use std::alloc::System;

use larder_peers::driver::{Driver, BATCH};
use larder_peers::origin::{Origin, Requests};
use larder_peers::subjects;
use stats_alloc::{Region, StatsAlloc, INSTRUMENTED_SYSTEM};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    println!("| | allocations per hit | overhead per stored 1 KiB response |");
    println!("| --- | --- | --- |");
    for subject in subjects::ALL {
        let origin = Origin::prebuilt(4 << 10);
        let mut driver = (subject.start)(origin);
        driver.check(origin);
        let allocations = allocations_per_hit(driver.as_mut());
        let overhead = overhead_per_response((subject.start)(Origin::copied(1 << 10)).as_mut());
        let overhead = overhead.map_or("".to_owned(), |bytes| format!("{bytes:.0} B"));
        println!("| {} | {allocations:.1} | {overhead} |", subject.name);
    }
}

/// Those of the service alone: the requests are made before the count begins.
fn allocations_per_hit(driver: &mut dyn Driver) -> f64 {
    const BATCHES: usize = 100;
    let requests = Requests::for_one_page();
    driver.send(requests.batch(BATCH));
    let mut allocations = 0;
    for _ in 0..BATCHES {
        let batch = requests.batch(BATCH);
        let region = Region::new(ALLOCATOR);
        driver.send(batch);
        let change = region.change();
        allocations += change.allocations + change.reallocations;
    }
    allocations as f64 / (BATCHES * BATCH) as f64
}

/// Bytes asked of the allocator and not given back, beyond the body; none for a service that stores nothing.
fn overhead_per_response(driver: &mut dyn Driver) -> Option<f64> {
    const RESPONSES: usize = 10_000;
    let store = |driver: &mut dyn Driver, offset| driver.send(Requests::for_page(offset).batch(1));
    store(driver, 0);
    let region = Region::new(ALLOCATOR);
    for offset in 1..=RESPONSES {
        store(driver, offset);
    }
    let change = region.change();
    let live = change
        .bytes_allocated
        .saturating_sub(change.bytes_deallocated);
    let per_response = live as f64 / RESPONSES as f64;
    (per_response > 1024.0).then_some(per_response - 1024.0)
}
