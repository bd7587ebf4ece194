//! q3, q8.

use super::{check, each_event, run_of};
use crate::{
    generator::{Check, Event, keyed_x, window_end_ms, window_x},
    workload::Workload,
};

#[test]
fn q3_is_auctions_with_their_sellers() {
    check(&run_of(Workload::Q3, 20_000, 1_000), |run, generator| {
        let (mut people, mut auctions) = (Vec::new(), Vec::new());
        each_event(run, generator, |event| match event {
            Event::Person(p) if ["OR", "ID", "CA"].contains(&p.state) => people.push(p.id),
            Event::Auction(a) if a.category == 10 => auctions.push((a.id, a.seller)),
            _ => {}
        });
        let mut check = Check::default();
        for person in people {
            for (auction, seller) in auctions.iter().filter(|(_, seller)| *seller == person) {
                check.add(keyed_x(*auction, *seller));
            }
        }
        check
    });
}

#[test]
fn q8_is_sellers_of_the_same_window() {
    check(&run_of(Workload::Q8, 20_000, 300), |run, generator| {
        let (mut people, mut auctions) = (Vec::new(), Vec::new());
        each_event(run, generator, |event| match event {
            Event::Person(p) => people.push((window_end_ms(p.date_time, 10_000), p.id)),
            Event::Auction(a) => {
                auctions.push((window_end_ms(a.date_time, 10_000), a.seller, a.id));
            }
            Event::Bid(_) => {}
        });
        let mut check = Check::default();
        for person in people {
            for (end, seller, auction) in &auctions {
                if (*end, *seller) == person {
                    check.add(window_x(*seller, *auction, *end));
                }
            }
        }
        check
    });
}
