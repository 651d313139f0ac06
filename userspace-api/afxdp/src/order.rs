//! In which order the packets of several queues are taken: by number, each number once, a gap only when nothing can fill it any more.
//!
//! The steering program numbers before it redirects, and a queue's frames become visible in batches. So a number may be missing only because its
//! queue has not shown it yet. It is lost for sure when every queue shows a later one (a queue shows its frames in the order of their numbers). A
//! queue that shows nothing may still hold it back, but not for long: it was numbered before the later one was stamped, so once that stamp is old
//! enough nothing is waited for. Under load, when frames wait in the rings, the stamps are old and no time is lost.

use std::time::Duration;

/// What stands at the front of a queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Head {
    pub(crate) number: u64,
    /// When it was stamped.
    pub(crate) boot_ns: u64,
}

/// What to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Choice {
    /// No queue shows anything.
    Nothing,
    /// A number is missing and may still come.
    Wait,
    /// Take this queue's front; so many numbers before it are lost.
    Take { queue: usize, lost: u64 },
    /// Throw this queue's front away: its number has been passed over, or was there already.
    Late { queue: usize },
}

/// The order.
#[derive(Debug)]
pub(crate) struct Order {
    next: u64,
    wait_ns: u64,
    /// Whether each queue shows its frames in the order of their numbers: true where one processor at a time works on a queue (native mode).
    queues_in_order: bool,
}

impl Order {
    pub(crate) fn new(wait: Duration, queues_in_order: bool) -> Order {
        Order {
            next: 1,
            wait_ns: u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX),
            queues_in_order,
        }
    }

    /// Chooses among the fronts of all queues. `boot_ns` tells the time, where it matters.
    pub(crate) fn choose(
        &self,
        heads: impl Iterator<Item = Option<Head>>,
        boot_ns: impl FnOnce() -> u64,
    ) -> Choice {
        let mut first: Option<(usize, Head)> = None;
        let mut all_show = true;
        for (queue, head) in heads.enumerate() {
            match (head, first) {
                (None, _) => all_show = false,
                (Some(head), Some((_, least))) if head.number >= least.number => {}
                (Some(head), _) => first = Some((queue, head)),
            }
        }
        let Some((queue, head)) = first else {
            return Choice::Nothing;
        };
        let Some(lost) = head.number.checked_sub(self.next) else {
            return Choice::Late { queue };
        };
        if lost == 0
            || (all_show && self.queues_in_order)
            || boot_ns().saturating_sub(head.boot_ns) >= self.wait_ns
        {
            Choice::Take { queue, lost }
        } else {
            Choice::Wait
        }
    }

    /// The front with this number was taken.
    pub(crate) fn taken(&mut self, number: u64) {
        assert!(number >= self.next, "numbers rise");
        self.next = number + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};
    use std::collections::VecDeque;

    const WAIT: Duration = Duration::from_nanos(100);

    fn check(in_order: bool, next: u64, heads: &[u64], now: u64, expected: Choice) {
        let mut order = Order::new(WAIT, in_order);
        order.next = next;
        let heads = heads.iter().map(|&number| {
            (number != 0).then_some(Head {
                number,
                boot_ns: 1000,
            })
        });
        assert_eq!(order.choose(heads, || now), expected);
    }

    #[test]
    fn the_next_number_comes_first_and_a_gap_waits_for_who_may_fill_it() {
        let take = |queue, lost| Choice::Take { queue, lost };
        check(true, 5, &[0, 0], 0, Choice::Nothing);
        check(true, 5, &[6, 5], 0, take(1, 0));
        check(true, 5, &[5, 0], 0, take(0, 0));
        // Queue 1 shows nothing and may have 5.
        check(true, 5, &[6, 0], 1099, Choice::Wait);
        check(true, 5, &[6, 0], 1100, take(0, 1));
        // Both are past 5.
        check(true, 5, &[9, 7], 1000, take(1, 2));
        check(false, 5, &[9, 7], 1000, Choice::Wait);
        // A queue alone has nobody to wait for.
        check(true, 5, &[8], 1000, take(0, 3));
        check(true, 5, &[4, 5], 1000, Choice::Late { queue: 0 });
        // A clock that is behind the stamp's processor is no reason to hurry.
        check(true, 5, &[6, 0], 900, Choice::Wait);
    }

    /// Whatever is lost and however the queues lag, within the wait: numbers rise, and each is taken or lost, exactly.
    #[test]
    fn nothing_is_taken_twice_or_forgotten() {
        for seed in 0..200 {
            let mut random = StdRng::seed_from_u64(seed);
            println!("seed {seed}");
            let queues = random.random_range(1..=4_usize);
            let mut hidden: Vec<VecDeque<(u64, Head)>> = vec![VecDeque::new(); queues];
            let mut is_lost = Vec::new();
            let last = 200;
            for number in 1..=last {
                let boot_ns = number * 10;
                // The last one always arrives: it shows that what is before it is lost.
                let lost = number != last && random.random_range(0..10) == 0;
                is_lost.push(lost);
                if !lost {
                    let queue = &mut hidden[random.random_range(0..queues)];
                    let visible = boot_ns + random.random_range(0..90);
                    let visible = queue
                        .back()
                        .map_or(visible, |(before, _)| visible.max(*before));
                    queue.push_back((visible, Head { number, boot_ns }));
                }
            }
            let mut order = Order::new(WAIT, true);
            let (mut lost_count, mut now) = (0, 0);
            let mut taken = Vec::new();
            while taken.last() != Some(&last) {
                let heads = hidden.iter().map(|queue| {
                    queue
                        .front()
                        .filter(|(visible, _)| *visible <= now)
                        .map(|(_, head)| *head)
                });
                match order.choose(heads, || now) {
                    Choice::Take { queue, lost } => {
                        let (_, head) = hidden[queue].pop_front().unwrap();
                        order.taken(head.number);
                        taken.push(head.number);
                        lost_count += lost;
                    }
                    Choice::Late { .. } => panic!("nothing lags for longer than the wait"),
                    Choice::Wait | Choice::Nothing => now += 1,
                }
            }
            let expected: Vec<u64> = (1..=last)
                .filter(|number| !is_lost[*number as usize - 1])
                .collect();
            assert_eq!(taken, expected);
            assert_eq!(lost_count, last - expected.len() as u64);
        }
    }
}
