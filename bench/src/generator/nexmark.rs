//! People, auctions and bids: 1, 3 and 46 of every 50 events.

use super::{Generator, below, tables::letters};

/// A bid. Its texts are parts of the tables.
#[derive(Clone, Copy, Debug)]
pub struct Bid {
    /// The auction bid on.
    pub auction: u64,
    /// The person who bids.
    pub bidder: u64,
    /// In cents.
    pub price: u64,
    /// `Google`, `channel-17` …
    pub channel: &'static str,
    /// Where the bidder came from.
    pub url: &'static str,
    /// Event time, in milliseconds.
    pub date_time: u64,
    /// Twenty letters.
    pub extra: &'static str,
}

/// An auction. Its texts are parts of the tables.
#[derive(Clone, Copy, Debug)]
pub struct Auction {
    /// Its number, from 1000.
    pub id: u64,
    /// Twenty letters.
    pub item_name: &'static str,
    /// A hundred letters.
    pub description: &'static str,
    /// In cents.
    pub initial_bid: u64,
    /// In cents.
    pub reserve: u64,
    /// Event time, in milliseconds.
    pub date_time: u64,
    /// When it closes, in milliseconds.
    pub expires: u64,
    /// The person who sells.
    pub seller: u64,
    /// 10 to 14.
    pub category: u64,
    /// Three hundred letters.
    pub extra: &'static str,
}

/// A person. Three of the texts are written for each one.
#[derive(Clone, Copy, Debug)]
pub struct Person<'p> {
    /// Its number, from 1000.
    pub id: u64,
    /// First and last name.
    pub name: &'p str,
    /// An address.
    pub email: &'p str,
    /// Four groups of four digits.
    pub credit_card: &'p str,
    /// One of ten.
    pub city: &'static str,
    /// One of six.
    pub state: &'static str,
    /// Event time, in milliseconds.
    pub date_time: u64,
    /// Eighty letters.
    pub extra: &'static str,
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub enum Event<'p> {
    /// Somebody signs up.
    Person(Person<'p>),
    /// An auction opens.
    Auction(Auction),
    /// Somebody bids.
    Bid(Bid),
}

/// Where the texts of a person are written.
#[derive(Clone, Debug, Default)]
pub struct PersonText {
    name: String,
    email: String,
    credit_card: String,
}

const FIRST: [&str; 11] = [
    "Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter",
];
const LAST: [&str; 9] =
    ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const STATE: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const CITY: [&str; 10] = [
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
];
const HUNDRED_TIMES_TEN_TO_THE: [u64; 6] = [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000];

/// 1.00 to 999,999.99, each decade as likely.
#[inline(always)]
fn price(random: u64) -> u64 {
    let unit = HUNDRED_TIMES_TEN_TO_THE[(((random & 0xFFFF) * 6) >> 16) as usize];
    unit + below(random, 9 * unit)
}

/// A recent person, or one of the ten to come.
#[inline(always)]
fn any_person(last: u64, random: u64) -> u64 {
    let active = (last + 1).min(1_000);
    (last + 1 - active) + below(random, active + 10)
}

/// One of the last hundred auctions, or of the ten to come.
#[inline(always)]
fn any_auction(last: u64, random: u64) -> u64 {
    let low = last.saturating_sub(100);
    low + below(random, last - low + 11)
}

impl Generator {
    /// Event `number`, whose kind decides which function is given it. No enum is made, so whoever stores the event
    /// stores it once.
    #[inline(always)]
    pub fn make<'p, R>(
        &self,
        number: u64,
        text: &'p mut PersonText,
        bid: impl FnOnce(Bid) -> R,
        auction: impl FnOnce(Auction) -> R,
        person: impl FnOnce(Person<'p>) -> R,
    ) -> R {
        match number % 50 {
            0 => self.person(number, text, person),
            1..=3 => self.auction(number, auction),
            _ => bid(self.bid(number)),
        }
    }

    /// Event `number`.
    #[inline(always)]
    pub fn event<'p>(&self, number: u64, text: &'p mut PersonText) -> Event<'p> {
        self.make(number, text, Event::Bid, Event::Auction, Event::Person)
    }

    /// The bid at `number`.
    #[inline(always)]
    fn bid(&self, number: u64) -> Bid {
        let [r0, r1, r2, r3] = [0, 1, 2, 3].map(|k| self.random(number, k));
        let person = number / 50;
        let auction = person * 3 + 2;
        let hot = |last: u64| (last / 100) * 100;
        let c = if r3 & 1 != 0 { below(r3, 4) } else { 4 + below(r3, 10_000) } as usize;
        Bid {
            auction: 1_000 + if r0 & 1 != 0 { hot(auction) } else { any_auction(auction, r0) },
            bidder: 1_000 + if r1 & 3 != 0 { hot(person) + 1 } else { any_person(person, r1) },
            price: price(r2),
            channel: self.tables.channel[c],
            url: self.tables.url[c],
            date_time: self.time_ms(number),
            extra: self.tables.bid_extra[(r3 >> 1) as usize & 1_023],
        }
    }

    /// Not in line, and given to `make` in there: an event that is returned and then put together is copied, with loads
    /// that wait for the stores before them.
    #[inline(never)]
    fn auction<R>(&self, number: u64, make: impl FnOnce(Auction) -> R) -> R {
        let [r0, r1, r2, r3, r4, r5] = [0, 1, 2, 3, 4, 5].map(|k| self.random(number, k));
        let person = number / 50;
        let last = person * 3 + number % 50 - 1;
        let seller = if r0 & 3 != 0 { (person / 100) * 100 } else { any_person(person, r0) };
        let at = self.time_ms(number);
        let horizon = self.time_ms(number + 1_666) - at;
        let initial_bid = price(r2);
        make(Auction {
            id: 1_000 + last,
            item_name: self.tables.filler(3_000, r5, 20),
            description: self.tables.filler(1_024, r5, 100),
            initial_bid,
            reserve: initial_bid + price(r3),
            date_time: at,
            expires: at + 1 + below(r4, (2 * horizon).max(1)),
            seller: 1_000 + seller,
            category: 10 + below(r1, 5),
            extra: self.tables.filler(0, r5, 300),
        })
    }

    #[inline(never)]
    fn person<'p, R>(
        &self,
        number: u64,
        text: &'p mut PersonText,
        make: impl FnOnce(Person<'p>) -> R,
    ) -> R {
        let r = |k| self.random(number, k);
        let PersonText { name, email, credit_card } = text;
        for text in [&mut *name, &mut *email, &mut *credit_card] {
            text.clear();
        }
        name.push_str(FIRST[below(r(0), 11) as usize]);
        name.push(' ');
        name.push_str(LAST[below(r(1), 9) as usize]);
        email.extend(letters(r(2), 7).map(char::from));
        email.push('@');
        email.extend(letters(r(3), 5).map(char::from));
        email.push_str(".com");
        for group in 0..4 {
            if group > 0 {
                credit_card.push(' ');
            }
            let value = ((r(4) >> (16 * group)) & 0xFFFF) % 10_000;
            credit_card
                .extend([1_000, 100, 10, 1].map(|d| char::from(b'0' + ((value / d) % 10) as u8)));
        }
        make(Person {
            id: 1_000 + number / 50,
            name,
            email,
            credit_card,
            city: CITY[below(r(5), 10) as usize],
            state: STATE[below(r(6), 6) as usize],
            date_time: self.time_ms(number),
            extra: self.tables.filler(2_048, r(7), 80),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::SEED, *};

    fn show(number: u64) -> String {
        let mut text = PersonText::default();
        match Generator::new(SEED, 1_000_000).event(number, &mut text) {
            Event::Person(p) => format!(
                "Person {}|{}|{}|{}|{}|{}|{}|{}",
                p.id, p.name, p.email, p.credit_card, p.city, p.state, p.date_time, p.extra
            ),
            Event::Auction(a) => format!(
                "Auction {}|{}|{}|{}|{}|{}|{}|{}",
                a.id,
                a.seller,
                a.category,
                a.initial_bid,
                a.reserve,
                a.expires,
                a.date_time,
                a.item_name
            ),
            Event::Bid(b) => format!(
                "Bid {}|{}|{}|{}|{}|{}|{}",
                b.auction, b.bidder, b.price, b.date_time, b.channel, b.url, b.extra
            ),
        }
    }

    #[test]
    fn events_are_those_of_the_specification() {
        for (number, expected) in [
            (
                0,
                "Person 1000|Peter Jones|zfspwxp@ewull.com|1030 1984 4478 1536|Kent|OR|1700000000000|mkdcoymcwejwoaqyqxlstrghxjpyuarwedcgtpfawlpdsgvxklffvqtrymryvjgluhptzjibtdyqojmn",
            ),
            (
                1,
                "Auction 1000|1000|12|6264|2243665|1700000000002|1700000000000|ldzboziiexmeazczyutd",
            ),
            (
                3,
                "Auction 1002|1000|12|1256|9050310|1700000000002|1700000000000|lojdmhrihitofeytjrfl",
            ),
            (
                4,
                "Bid 1000|1001|61707|1700000000000|Google|https://www.nexmark.test/oruxj/oljrw/yzoup/item.htm?query=1&channel_id=0|ogmbcqotnpqdznbuqjzs",
            ),
            (
                49,
                "Bid 1008|1001|9831|1700000000000|channel-2648|https://www.nexmark.test/zbqfo/kfwyr/tlrhg/item.htm?query=1&channel_id=2652|pjlxrtoobecxqpbmvygq",
            ),
            (
                50,
                "Person 1001|Deiter Jones|fqtnkpn@jghmj.com|7991 5799 5477 0297|Portland|OR|1700000000000|fynprkikfydrvtbephgpqgksjhgzumrweaurwjvcrmkrussfrtwzljwariecxdruywgavqzxovdeuvto",
            ),
            (
                1_000_004,
                "Bid 61000|21001|893025|1700000001000|channel-9714|https://www.nexmark.test/kzctg/htfru/szedb/item.htm?query=1&channel_id=9718|ssyktmovqjyxlmdhcjsx",
            ),
            (
                1_000_000,
                "Person 21000|Deiter Spencer|oslgfme@dluqs.com|1615 4305 0726 0230|Redmond|AZ|1700000001000|axfkssiipwgxyuihnhxnxxqmmowsqdqgnifbzcjtzgbomkumaanxsgyyndgxscicjmttfnmshhlqgkre",
            ),
            (
                1_000_001,
                "Auction 61000|21000|13|83209378|83296879|1700000001001|1700000001000|yisleirigpsiotpahazl",
            ),
        ] {
            assert_eq!(show(number), expected, "event {number}");
        }
    }
}
