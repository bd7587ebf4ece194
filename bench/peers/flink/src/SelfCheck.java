package wiesel.peer;

/**
 * The values of the specification, and small runs of all workloads with known results, those of {@code bench/tests}.
 */
final class SelfCheck {
    private int wrong;
    private int checked;

    private SelfCheck() {}

    /** Says on standard error what is wrong; the exit code of the process. */
    static int run() throws Exception {
        SelfCheck check = new SelfCheck();
        check.values();
        check.events();
        check.jobs();
        System.err.printf("flink: %d checks, %d wrong%n", check.checked, check.wrong);
        return check.wrong == 0 ? 0 : 1;
    }

    private void equal(String what, Object found, Object expected) {
        checked++;
        if (!found.equals(expected)) {
            wrong++;
            System.err.printf("flink: %s is %s, not %s%n", what, found, expected);
        }
    }

    private void values() {
        Generator generator = new Generator(Generator.SEED, 1_000_000);
        equal("R(0,0)", generator.random(0, 0), 0x1696BF28F9F8C064L);
        equal("R(0,3)", generator.random(0, 3), 0xEF33CCC18DFEB2A0L);
        equal("R(1,0)", generator.random(1, 0), 0x7018B8B1CE21C07BL);
        equal("R(1,3)", generator.random(1, 3), 0x23327C732363B612L);
        equal("R(12345678901,0)", generator.random(12_345_678_901L, 0), 0x1AF9942305F6CEB4L);
        equal("R(12345678901,3)", generator.random(12_345_678_901L, 3), 0x1E73C77AFDD22F71L);
        equal("T(1,0)", Generator.tableWord(Generator.SEED, 1, 0), 0xD2B7032B426D3BEBL);
        equal("mix(1)", Generator.mix(1), 0x5692161D100B05E5L);
        equal("fnv1a64(abc)", Generator.fnv1a64("abc"), 0xe71fa2190541574bL);
        equal("line(0)", generator.line(0), "sezoabbu fvcwaaqe naaab afrf aaaa vwzxaaad naaab fqadql");
        equal("line(7)", generator.line(7), "loijaabf acol rktaabo aaaa pabhu cfacika vsmaaao saabk");
    }

    private void events() {
        String[] expected = {
            "0 Person 1000|Peter Jones|zfspwxp@ewull.com|1030 1984 4478 1536|Kent|OR|1700000000000|"
                    + "mkdcoymcwejwoaqyqxlstrghxjpyuarwedcgtpfawlpdsgvxklffvqtrymryvjgluhptzjibtdyqojmn",
            "1 Auction 1000|1000|12|6264|2243665|1700000000002|1700000000000|ldzboziiexmeazczyutd",
            "3 Auction 1002|1000|12|1256|9050310|1700000000002|1700000000000|lojdmhrihitofeytjrfl",
            "4 Bid 1000|1001|61707|1700000000000|Google|https://www.nexmark.test/oruxj/oljrw/yzoup"
                    + "/item.htm?query=1&channel_id=0|ogmbcqotnpqdznbuqjzs",
            "49 Bid 1008|1001|9831|1700000000000|channel-2648|https://www.nexmark.test/zbqfo/kfwyr/tlrhg"
                    + "/item.htm?query=1&channel_id=2652|pjlxrtoobecxqpbmvygq",
            "50 Person 1001|Deiter Jones|fqtnkpn@jghmj.com|7991 5799 5477 0297|Portland|OR|1700000000000|"
                    + "fynprkikfydrvtbephgpqgksjhgzumrweaurwjvcrmkrussfrtwzljwariecxdruywgavqzxovdeuvto",
            "1000004 Bid 61000|21001|893025|1700000001000|channel-9714|https://www.nexmark.test/kzctg/htfru/szedb"
                    + "/item.htm?query=1&channel_id=9718|ssyktmovqjyxlmdhcjsx",
            "1000000 Person 21000|Deiter Spencer|oslgfme@dluqs.com|1615 4305 0726 0230|Redmond|AZ|1700000001000|"
                    + "axfkssiipwgxyuihnhxnxxqmmowsqdqgnifbzcjtzgbomkumaanxsgyyndgxscicjmttfnmshhlqgkre",
            "1000001 Auction 61000|21000|13|83209378|83296879|1700000001001|1700000001000|yisleirigpsiotpahazl",
        };
        Generator generator = new Generator(Generator.SEED, 1_000_000);
        Event event = new Event();
        for (String line : expected) {
            String number = line.substring(0, line.indexOf(' '));
            generator.make(Long.parseLong(number), event);
            equal("event " + number, number + " " + show(event), line);
        }
    }

    private static String show(Event event) {
        Event.Person p = event.person;
        Event.Auction a = event.auction;
        Event.Bid b = event.bid;
        return switch (event.kind) {
            case Event.PERSON -> "Person " + fields(p.id, p.name, p.email, p.creditCard, p.city, p.state, p.dateTime, p.extra);
            case Event.AUCTION -> "Auction "
                    + fields(a.id, a.seller, a.category, a.initialBid, a.reserve, a.expires, a.dateTime, a.itemName);
            default -> "Bid " + fields(b.auction, b.bidder, b.price, b.dateTime, b.channel, b.url, b.extra);
        };
    }

    private static String fields(Object... fields) {
        StringBuilder text = new StringBuilder();
        for (Object field : fields) {
            text.append(text.length() == 0 ? "" : "|").append(field);
        }
        return text.toString();
    }

    private void jobs() throws Exception {
        String[][] results = {
            {"q0 --events 100000", "92000", "ec141693cc625e3b"},
            {"q5 --events 100000 --event-rate 10000", "13", "b4008be8c6ea7a40"},
            {"q7 --events 100000 --event-rate 4000", "3", "dac84aa7b7dc2293"},
            {"q8 --events 100000 --event-rate 4000", "5417", "84b2405180f42b57"},
            {"q11 --events 100000 --event-rate 1000", "2871", "6e7619d10fa7ad25"},
            {"q11 --events 100000 --event-rate 1000 --disorder 5", "2878", "0b6997ff5b259b24"},
            {"keyed --events 50000", "50000", "f98c4eb958988deb"},
            {"keyed_skew --events 50000", "50000", "e6ba4cf54811c451"},
            {"wordcount --events 5000", "40000", "9cc3bae8ac0f6015"},
            {"tumbling --events 100000 --event-rate 1000", "19793", "eb8fa67e4ff96204"},
            {"sliding --events 100000 --event-rate 1000 --slides 60", "1400755", "8178b3f2292132d6"},
            {"session --events 100000 --event-rate 3000", "12944", "f9616fbbb1dba135"},
            {"session --events 100000 --event-rate 3000 --disorder 5", "12976", "4e02d982462f7cea"},
        };
        try (Cluster cluster = new Cluster(3)) {
            for (String[] result : results) {
                for (int parallelism = 1; parallelism <= 3; parallelism++) {
                    String line = result[0] + " --parallelism " + parallelism;
                    CheckSink.Check check = cluster.run(Args.parse(line.split(" "))).check();
                    equal(line, check.out() + " " + check.sumText(), result[1] + " " + result[2]);
                }
            }
        }
    }
}
