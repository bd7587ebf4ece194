package wiesel.peer;

/** One event of Nexmark: a source makes each in the memory of the one before, in full. */
public final class Event {
    static final int PERSON = 0;
    static final int AUCTION = 1;
    static final int BID = 2;

    /** Which of the three it is. */
    public int kind;

    /** Event time, in milliseconds. */
    public long time;

    public final Person person = new Person();
    public final Auction auction = new Auction();
    public final Bid bid = new Bid();

    /** Takes it back in event time. */
    void delay(long ms) {
        time -= ms;
        switch (kind) {
            case PERSON -> person.dateTime -= ms;
            case AUCTION -> auction.dateTime -= ms;
            default -> bid.dateTime -= ms;
        }
    }

    public static final class Person {
        public long id;
        public String name;
        public String email;
        public String creditCard;
        public String city;
        public String state;
        public long dateTime;
        public String extra;
    }

    public static final class Auction {
        public long id;
        public String itemName;
        public String description;
        public long initialBid;
        public long reserve;
        public long dateTime;
        public long expires;
        public long seller;
        public long category;
        public String extra;
    }

    public static final class Bid {
        public long auction;
        public long bidder;
        public long price;
        public String channel;
        public String url;
        public long dateTime;
        public String extra;
    }
}
