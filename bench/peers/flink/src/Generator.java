package wiesel.peer;

import java.nio.charset.StandardCharsets;

/**
 * The input: each event is a pure function of its number, bit for bit that of {@code bench/src/generator}.
 *
 * <p>All numbers are unsigned words of 64 bits that wrap; what is divided stays below 2^63.
 */
final class Generator {
    static final long SEED = 0x5DEECE66D1234567L;
    static final long BASE_MS = 1_700_000_000_000L;
    static final long KEYS = 1 << 20;
    static final long WINDOWED_KEYS = 10_000;
    static final long DISORDER_MS = 5_000;

    private static final long GOLDEN = 0x9E3779B97F4A7C15L;
    private static final int MADE_CHANNELS = 10_000;
    private static final int WORDS = 65_536;
    private static final String[] FIRST = {
        "Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"
    };
    private static final String[] LAST = {
        "Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"
    };
    private static final String[] STATE = {"AZ", "CA", "ID", "OR", "WA", "WY"};
    private static final String[] CITY = {
        "Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"
    };
    private static final long[] HUNDRED_TIMES_TEN_TO_THE = {100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000};

    private final long seed;
    private final long eventRate;
    private final Tables tables;
    private final byte[] line = new byte[8 * 10];

    /** The generator whose event time goes on by a second every {@code eventRate} events. */
    Generator(long seed, long eventRate) {
        this.seed = seed;
        this.eventRate = eventRate;
        this.tables = Tables.of(seed);
    }

    /** The finaliser of SplitMix64. */
    static long mix(long z) {
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        return z ^ (z >>> 31);
    }

    /** A number below {@code n}, which is at most 2^31. */
    static long below(long random, long n) {
        return ((random >>> 32) * n) >>> 32;
    }

    /** A random word of a table. */
    static long tableWord(long seed, long tag, long i) {
        return mix(seed ^ (tag << 56) ^ (i + 1) * GOLDEN);
    }

    static long fnv1a64(String word) {
        long hash = 0xcbf29ce484222325L;
        for (int at = 0; at < word.length(); at++) {
            hash = (hash ^ word.charAt(at)) * 0x100000001b3L;
        }
        return hash;
    }

    /** Random word {@code k}, below 8, of event {@code number}. */
    long random(long number, long k) {
        return mix(seed + (number * 8 + k + 1) * GOLDEN);
    }

    long timeMs(long number) {
        return BASE_MS + number * 1_000 / eventRate;
    }

    /** By how much event {@code number} is late where {@code percent} of a hundred are. */
    long delayMs(long number, long percent) {
        if (percent == 0 || below(random(number, 6), 100) >= percent) {
            return 0;
        }
        return 1 + below(random(number, 7), DISORDER_MS);
    }

    long key(long number, long keys) {
        return below(random(number, 0), keys);
    }

    /** As {@link #key}, but every second record, at random, has key 0. */
    long skewedKey(long number, long keys) {
        return (random(number, 1) & 1) == 1 ? 0 : key(number, keys);
    }

    /** Line {@code number}: eight words with a space between two. */
    String line(long number) {
        int end = 0;
        for (int k = 0; k < 8; k++) {
            byte[] word = tables.word[rank(random(number, k))];
            System.arraycopy(word, 0, line, end, word.length);
            end += word.length;
            line[end++] = ' ';
        }
        return new String(line, 0, end - 1, StandardCharsets.ISO_8859_1);
    }

    /** Makes event {@code number} in {@code event}, every field of it. */
    void make(long number, Event event) {
        int m = (int) (number % 50);
        if (m > 3) {
            event.kind = Event.BID;
            event.time = bid(number, event.bid);
        } else if (m > 0) {
            event.kind = Event.AUCTION;
            event.time = auction(number, event.auction);
        } else {
            event.kind = Event.PERSON;
            event.time = person(number, event.person);
        }
    }

    private long bid(long number, Event.Bid bid) {
        long r0 = random(number, 0);
        long r1 = random(number, 1);
        long r3 = random(number, 3);
        long person = number / 50;
        long auction = person * 3 + 2;
        int c = (int) ((r3 & 1) != 0 ? below(r3, 4) : 4 + below(r3, MADE_CHANNELS));
        bid.auction = 1_000 + ((r0 & 1) != 0 ? auction / 100 * 100 : anyAuction(auction, r0));
        bid.bidder = 1_000 + ((r1 & 3) != 0 ? person / 100 * 100 + 1 : anyPerson(person, r1));
        bid.price = price(random(number, 2));
        bid.channel = tables.channel[c];
        bid.url = tables.url[c];
        bid.dateTime = timeMs(number);
        bid.extra = tables.bidExtra[(int) (r3 >>> 1) & 1_023];
        return bid.dateTime;
    }

    private long auction(long number, Event.Auction auction) {
        long r0 = random(number, 0);
        long person = number / 50;
        long last = person * 3 + number % 50 - 1;
        int j = (int) random(number, 5) & 1_023;
        long at = timeMs(number);
        long horizon = timeMs(number + 1_666) - at;
        auction.id = 1_000 + last;
        auction.itemName = tables.item[j];
        auction.description = tables.description[j];
        auction.initialBid = price(random(number, 2));
        auction.reserve = auction.initialBid + price(random(number, 3));
        auction.dateTime = at;
        auction.expires = at + 1 + below(random(number, 4), Math.max(2 * horizon, 1));
        auction.seller = 1_000 + ((r0 & 3) != 0 ? person / 100 * 100 : anyPerson(person, r0));
        auction.category = 10 + below(random(number, 1), 5);
        auction.extra = tables.auctionExtra[j];
        return at;
    }

    private long person(long number, Event.Person person) {
        long card = random(number, 4);
        StringBuilder digits = new StringBuilder(19);
        for (int group = 0; group < 4; group++) {
            int value = (int) ((card >>> (16 * group)) & 0xFFFF) % 10_000;
            digits.append(group > 0 ? " " : "");
            for (int unit = 1_000; unit > 0; unit /= 10) {
                digits.append((char) ('0' + value / unit % 10));
            }
        }
        String first = FIRST[(int) below(random(number, 0), FIRST.length)];
        String last = LAST[(int) below(random(number, 1), LAST.length)];
        person.id = 1_000 + number / 50;
        person.name = first + " " + last;
        person.email = letters(random(number, 2), 7) + "@" + letters(random(number, 3), 5) + ".com";
        person.creditCard = digits.toString();
        person.city = CITY[(int) below(random(number, 5), CITY.length)];
        person.state = STATE[(int) below(random(number, 6), STATE.length)];
        person.dateTime = timeMs(number);
        person.extra = tables.personExtra[(int) random(number, 7) & 1_023];
        return person.dateTime;
    }

    /** 1.00 to 999,999.99, each decade as likely. */
    private static long price(long random) {
        long unit = HUNDRED_TIMES_TEN_TO_THE[(int) (((random & 0xFFFF) * 6) >>> 16)];
        return unit + below(random, 9 * unit);
    }

    /** A recent person, or one of the ten to come. */
    private static long anyPerson(long last, long random) {
        long active = Math.min(last + 1, 1_000);
        return (last + 1 - active) + below(random, active + 10);
    }

    /** One of the last hundred auctions, or of the ten to come. */
    private static long anyAuction(long last, long random) {
        long low = Math.max(last - 100, 0);
        return low + below(random, last - low + 11);
    }

    /** A rank below 65,536, about as likely as one over itself. */
    private static int rank(long random) {
        int level = (int) (1 + (((random & 0xFFFF) * 16) >>> 16));
        return (int) below(random, 1L << level);
    }

    /** The first {@code n}, at most 8, letters of a random word. */
    private static String letters(long random, int n) {
        StringBuilder text = new StringBuilder(n);
        for (int i = 0; i < n; i++) {
            text.append((char) ('a' + (int) ((random >>> (8 * i)) & 0xFF) % 26));
        }
        return text.toString();
    }

    /** What every event draws from: texts that are made once per seed. */
    private static final class Tables {
        private static long madeOf;
        private static Tables made;

        final String[] channel = new String[4 + MADE_CHANNELS];
        final String[] url = new String[4 + MADE_CHANNELS];
        final String[] bidExtra;
        final String[] item;
        final String[] description;
        final String[] auctionExtra;
        final String[] personExtra;
        final byte[][] word = new byte[WORDS][];

        static synchronized Tables of(long seed) {
            if (made == null || madeOf != seed) {
                made = new Tables(seed);
                madeOf = seed;
            }
            return made;
        }

        private Tables(long seed) {
            StringBuilder letters = new StringBuilder(4_096);
            for (int i = 0; i < 4_096; i++) {
                letters.append((char) ('a' + (int) ((tableWord(seed, 1, i) >>> 32) % 26)));
            }
            String filler = letters.toString();
            bidExtra = parts(filler, 0, 20);
            item = parts(filler, 3_000, 20);
            description = parts(filler, 1_024, 100);
            auctionExtra = parts(filler, 0, 300);
            personExtra = parts(filler, 2_048, 80);
            String[] known = {"Google", "Facebook", "Baidu", "Apple"};
            for (int c = 0; c < channel.length; c++) {
                channel[c] = c < 4 ? known[c] : "channel-" + (c - 4);
                url[c] = "https://www.nexmark.test/" + letters(tableWord(seed, 2, c), 5)
                        + "/" + letters(tableWord(seed, 3, c), 5) + "/" + letters(tableWord(seed, 4, c), 5)
                        + "/item.htm?query=1&channel_id=" + c;
            }
            for (int i = 0; i < WORDS; i++) {
                long h = tableWord(seed, 5, i);
                StringBuilder text = new StringBuilder(letters(h, (int) ((h >>> 56) % 6)));
                for (int unit = 17_576; unit > 0; unit /= 26) {
                    text.append((char) ('a' + i / unit % 26));
                }
                word[i] = text.toString().getBytes(StandardCharsets.ISO_8859_1);
            }
        }

        private static String[] parts(String filler, int start, int length) {
            String[] parts = new String[1_024];
            for (int j = 0; j < parts.length; j++) {
                parts[j] = filler.substring(start + j, start + j + length);
            }
            return parts;
        }
    }
}
