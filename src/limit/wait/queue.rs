//! Who waits, and who is next: plain values, told what time it is.
//!
//! The more urgent first; of the same priority whoever has less time left, so whoever came first where all have the
//! same.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::error::Refusal;
use super::Priority;

pub(super) type Answering = oneshot::Sender<Result<(), Refusal>>;

/// By when it must be served (nanoseconds of the clock), and the number of its arrival.
pub(super) type Place = (u64, u64);

/// Those who wait for one bucket.
#[derive(Debug, Default)]
pub(super) struct Queue {
    classes: [Class; 3],
    arrivals: u64,
}

/// Those of one priority.
#[derive(Debug, Default)]
struct Class {
    waiters: BTreeMap<Place, Waiter>,
    /// What they cost together.
    cost: u64,
}

impl Class {
    fn insert(&mut self, place: Place, waiter: Waiter) {
        self.cost += waiter.cost;
        self.waiters.insert(place, waiter);
    }

    fn remove(&mut self, place: &Place) -> Option<Waiter> {
        let waiter = self.waiters.remove(place)?;
        self.cost -= waiter.cost;
        Some(waiter)
    }

    /// What those cost who are served by this deadline.
    fn ahead(&self, deadline: u64) -> u64 {
        match self.waiters.last_key_value() {
            // Mostly all wait equally long.
            Some((last, _)) if last.0 > deadline => {
                let ahead = self.waiters.range(..=(deadline, u64::MAX));
                ahead.map(|(_, waiter)| waiter.cost).sum()
            }
            _ => self.cost,
        }
    }
}

#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) cost: u64,
    /// Nanoseconds of the clock.
    pub(super) arrived: u64,
    pub(super) answer: Answering,
}

/// Who is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) priority: Priority,
    pub(super) cost: u64,
    /// How many after one another cost the same.
    pub(super) number: u64,
    pub(super) arrived: u64,
}

/// One who is next, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) priority: Priority,
    pub(super) place: Place,
    pub(super) cost: u64,
}

impl Queue {
    /// Lets somebody wait, if there is room for `most`, or one less urgent to make room: then that one
    /// is told so who came last. Where it stands.
    pub(super) fn join(
        &mut self,
        priority: Priority,
        deadline: u64,
        waiter: Waiter,
        most: usize,
    ) -> Result<Place, Refusal> {
        if self.len() >= most {
            self.shed(priority)?;
        }
        self.arrivals += 1;
        let place = (deadline, self.arrivals);
        self.classes[priority.place()].insert(place, waiter);
        Ok(place)
    }

    fn shed(&mut self, for_one: Priority) -> Result<(), Refusal> {
        let less_urgent = Priority::ALL.iter().rev().take_while(|one| **one > for_one);
        let mut classes = less_urgent.map(|one| one.place());
        let class = classes.find(|class| !self.classes[*class].waiters.is_empty());
        let class = &mut self.classes[class.ok_or(Refusal::Full)?];
        let newest = class.waiters.keys().max_by_key(|(_, arrival)| *arrival);
        let newest = newest.copied();
        if let Some(shed) = newest.and_then(|place| class.remove(&place)) {
            let _ = shed.answer.send(Err(Refusal::Full));
        }
        Ok(())
    }

    /// Takes one out who does not want to wait any more. False if it was not there.
    pub(super) fn leave(&mut self, priority: Priority, place: Place) -> bool {
        self.classes[priority.place()].remove(&place).is_some()
    }

    /// What those cost, together, who are served before one who comes now.
    pub(super) fn ahead(&self, priority: Priority, deadline: u64) -> u64 {
        let more_urgent = self.classes[..priority.place()].iter();
        let more_urgent: u64 = more_urgent.map(|class| class.cost).sum();
        more_urgent + self.ahead_of_equals(priority, deadline)
    }

    /// The same of those of its own priority.
    pub(super) fn ahead_of_equals(&self, priority: Priority, deadline: u64) -> u64 {
        self.classes[priority.place()].ahead(deadline)
    }

    pub(super) fn head(&self) -> Option<Head> {
        Priority::ALL.iter().find_map(|one| self.head_of(*one))
    }

    /// The least urgent who has waited since before `since` while somebody more urgent waits.
    pub(super) fn starving(&self, since: u64) -> Option<Head> {
        let first = self.head()?.priority;
        let after = Priority::ALL.into_iter().rev().filter(|one| *one > first);
        let mut heads = after.filter_map(|one| self.head_of(one));
        heads.find(|head| head.arrived <= since)
    }

    /// Who is next, or who is of a priority.
    pub(super) fn next(&self, of: Option<Priority>) -> Option<Next> {
        let next_of = |one: Priority| {
            let class = &self.classes[one.place()].waiters;
            let (place, waiter) = class.first_key_value()?;
            Some(Next {
                priority: one,
                place: *place,
                cost: waiter.cost,
            })
        };
        match of {
            Some(one) => next_of(one),
            None => Priority::ALL.into_iter().find_map(next_of),
        }
    }

    fn head_of(&self, priority: Priority) -> Option<Head> {
        let class = &self.classes[priority.place()].waiters;
        let first = class.values().next()?;
        let same = class.values().take_while(|next| next.cost == first.cost);
        Some(Head {
            priority,
            cost: first.cost,
            number: same.take(priority.together() as usize).count() as u64,
            arrived: first.arrived,
        })
    }

    /// Serves those who are next of a priority, while the tokens suffice. What is left of them.
    pub(super) fn serve(&mut self, priority: Priority, mut tokens: u64) -> u64 {
        let class = &mut self.classes[priority.place()];
        while let Some((place, first)) = class.waiters.first_key_value() {
            if first.cost > tokens {
                break;
            }
            let place = *place;
            let Some(waiter) = class.remove(&place) else {
                break;
            };
            // One who is gone took nothing.
            if waiter.answer.send(Ok(())).is_ok() {
                tokens -= waiter.cost;
            }
        }
        tokens
    }

    /// Sends everybody away.
    pub(super) fn refuse_all(&mut self, why: Refusal) {
        for class in &mut self.classes {
            for (_, waiter) in std::mem::take(class).waiters {
                let _ = waiter.answer.send(Err(why));
            }
        }
    }

    /// Forgets everybody: they notice.
    pub(super) fn clear(&mut self) {
        self.classes = Default::default();
    }

    pub(super) fn len(&self) -> usize {
        self.classes.iter().map(|class| class.waiters.len()).sum()
    }

    pub(super) fn waiting(&self, priority: Priority) -> usize {
        self.classes[priority.place()].waiters.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Priority::{Background, Critical, Normal};
    use super::*;

    type Answered = oneshot::Receiver<Result<(), Refusal>>;

    fn join(queue: &mut Queue, priority: Priority, deadline: u64, cost: u64) -> (Place, Answered) {
        let (answer, answered) = oneshot::channel();
        let waiter = Waiter {
            cost,
            arrived: deadline,
            answer,
        };
        let place = queue.join(priority, deadline, waiter, usize::MAX);
        (place.unwrap(), answered)
    }

    fn is_served(answered: &mut Answered) -> bool {
        matches!(answered.try_recv(), Ok(Ok(())))
    }

    #[test]
    fn the_more_urgent_go_first_and_then_whoever_has_less_time() {
        let mut queue = Queue::default();
        assert_eq!(queue.head(), None);
        let (_, mut background) = join(&mut queue, Background, 1, 1);
        let (_, mut late) = join(&mut queue, Normal, 9, 1);
        let (_, mut soon) = join(&mut queue, Normal, 5, 1);
        let (_, mut critical) = join(&mut queue, Critical, 99, 2);
        let mut order = Vec::new();
        while let Some(head) = queue.head() {
            assert_eq!(queue.serve(head.priority, head.cost), 0);
            let all = [&mut background, &mut late, &mut soon, &mut critical];
            let served = all.into_iter().map(is_served);
            order.extend(
                served
                    .enumerate()
                    .filter(|(_, served)| *served)
                    .map(|(n, _)| n),
            );
        }
        assert_eq!(order, [3, 2, 1, 0]);
    }

    #[test]
    fn one_call_asks_for_those_who_cost_the_same_and_never_for_many_in_the_background() {
        let mut queue = Queue::default();
        let kept: Vec<_> = [1, 1, 1, 2, 1]
            .iter()
            .map(|cost| join(&mut queue, Normal, 1, *cost))
            .collect();
        let head = queue.head().unwrap();
        assert_eq!((head.cost, head.number), (1, 3));
        assert_eq!(queue.serve(Normal, 4), 1, "the next one costs 2");
        assert_eq!(queue.len(), 2);
        let mut queue = Queue::default();
        let more: Vec<_> = (0..20)
            .map(|n| join(&mut queue, Background, n, 1))
            .collect();
        assert_eq!(queue.head().unwrap().number, 8);
        drop((kept, more));
    }

    #[test]
    fn who_is_gone_is_passed_over_and_costs_nothing() {
        let mut queue = Queue::default();
        let (place, stays) = join(&mut queue, Normal, 1, 1);
        let (_, gone) = join(&mut queue, Normal, 2, 1);
        let (_, mut last) = join(&mut queue, Normal, 3, 1);
        drop(gone);
        assert!(queue.leave(Normal, place));
        assert!(!queue.leave(Normal, place));
        drop(stays);
        assert_eq!(queue.serve(Normal, 1), 0);
        assert!(is_served(&mut last));
    }

    #[test]
    fn a_full_queue_sheds_the_least_urgent_who_came_last() {
        // Who waits, who comes, who is shed: by place, None for the one who comes.
        let table: &[(&[Priority], Priority, Option<usize>)] = &[
            (&[Normal, Normal], Normal, None),
            (&[Normal, Critical], Background, None),
            (&[Background, Background], Background, None),
            (&[Background, Background], Normal, Some(1)),
            (&[Background, Normal], Critical, Some(0)),
            (&[Normal, Normal, Critical], Critical, Some(1)),
            (&[Critical, Critical], Critical, None),
        ];
        for (waiting, comes, shed) in table {
            let mut queue = Queue::default();
            // The last to come has the least time left.
            let mut all: Vec<_> = (0..)
                .zip(*waiting)
                .map(|(n, one)| join(&mut queue, *one, 99 - n, 1).1)
                .collect();
            let (answer, _kept) = oneshot::channel();
            let waiter = Waiter {
                cost: 1,
                arrived: 0,
                answer,
            };
            let joined = queue.join(*comes, 1, waiter, waiting.len());
            assert_eq!(joined.is_err(), shed.is_none(), "{waiting:?} {comes:?}");
            let told = all
                .iter_mut()
                .position(|one| one.try_recv() == Ok(Err(Refusal::Full)));
            assert_eq!(told, *shed, "{waiting:?} {comes:?}");
            assert_eq!(queue.len(), waiting.len());
        }
    }

    #[test]
    fn those_ahead_are_the_more_urgent_and_those_with_less_time() {
        let mut queue = Queue::default();
        let kept = [
            (Critical, 9, 1),
            (Normal, 5, 10),
            (Normal, 7, 100),
            (Background, 1, 1000),
        ]
        .map(|(one, deadline, cost)| join(&mut queue, one, deadline, cost));
        let table = [
            (Critical, 8, 0),
            (Critical, 9, 1),
            (Normal, 4, 1),
            (Normal, 6, 11),
            (Normal, 8, 111),
            (Background, 0, 111),
            (Background, 2, 1111),
        ];
        for (priority, deadline, ahead) in table {
            assert_eq!(
                queue.ahead(priority, deadline),
                ahead,
                "{priority:?} {deadline}"
            );
        }
        drop(kept);
    }

    #[test]
    fn the_least_urgent_starves_while_others_go_first() {
        let mut queue = Queue::default();
        let background = join(&mut queue, Background, 10, 1);
        assert_eq!(queue.starving(50), None, "it is next");
        let normal = join(&mut queue, Normal, 20, 1);
        assert_eq!(queue.starving(9), None);
        assert_eq!(queue.starving(10).unwrap().priority, Background);
        let critical = join(&mut queue, Critical, 30, 1);
        assert_eq!(queue.starving(25).unwrap().priority, Background);
        assert!(queue.leave(Background, background.0));
        assert_eq!(queue.starving(25).unwrap().priority, Normal);
        drop((normal, critical));
    }
}
