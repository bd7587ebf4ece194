package wiesel.peer;

import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.SingleOutputStreamOperator;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.windowing.WindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.EventTimeSessionWindows;
import org.apache.flink.streaming.api.windowing.assigners.SlidingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.assigners.WindowAssigner;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;
import wiesel.peer.Records.Counted;
import wiesel.peer.Records.Most;
import wiesel.peer.Records.NewAuction;
import wiesel.peer.Records.NewPerson;

/**
 * The workloads as jobs.
 *
 * <pre>
 *   source ─▶ projection ══ by key ══▶ state or windows ─▶ CheckSink        ─▶ one task: chained, without copies
 * </pre>
 *
 * <p>Event times go with the records, as Flink has it; what is sent to another task is what the step behind reads.
 */
final class Jobs {
    private static final Duration WINDOW = Duration.ofMinutes(1);
    private static final Duration SESSION_GAP = Duration.ofSeconds(10);
    private static final Duration NEXMARK_WINDOW = Duration.ofSeconds(10);
    private static final Duration Q5_SLIDE = Duration.ofSeconds(2);

    /** Builds a job that ends in a {@link CheckSink}. */
    interface Job {
        void build(StreamExecutionEnvironment env, Args args);
    }

    /** All workloads by name. */
    static final Map<String, Job> ALL = new LinkedHashMap<>();

    static {
        ALL.put("q0", Jobs::q0);
        ALL.put("q5", Jobs::q5);
        ALL.put("q7", Jobs::q7);
        ALL.put("q8", Jobs::q8);
        ALL.put("q11", Jobs::q11);
        ALL.put("keyed", (env, args) -> keyed(env, args, false));
        ALL.put("keyed_skew", (env, args) -> keyed(env, args, true));
        ALL.put("wordcount", Jobs::wordcount);
        ALL.put("tumbling", (env, args) -> windows(env, args, TumblingEventTimeWindows.of(WINDOW)));
        ALL.put("sliding", (env, args) -> windows(env, args, SlidingEventTimeWindows.of(WINDOW, slide(args))));
        ALL.put("session", (env, args) -> windows(env, args, EventTimeSessionWindows.withGap(SESSION_GAP)));
    }

    private Jobs() {}

    private static Duration slide(Args args) {
        return WINDOW.dividedBy(args.slides);
    }

    private static <T> DataStream<T> source(
            StreamExecutionEnvironment env,
            Args args,
            TypeInformation<T> type,
            WatermarkStrategy<T> watermarks,
            GeneratorSource.Makers<T> makers) {
        GeneratorSource<T> source = new GeneratorSource<>(makers, args.events, args.parallelism);
        return env.fromSource(source, watermarks, "generator", type);
    }

    /** No event is later than these watermarks say. */
    private static <T> WatermarkStrategy<T> watermarks(Args args) {
        return args.disorder == 0
                ? WatermarkStrategy.forMonotonousTimestamps()
                : WatermarkStrategy.forBoundedOutOfOrderness(Duration.ofMillis(Generator.DISORDER_MS));
    }

    /** Events of Nexmark. Each is made in the memory of the one before, which object reuse allows. */
    private static DataStream<Event> events(StreamExecutionEnvironment env, Args args, WatermarkStrategy<Event> watermarks) {
        long seed = args.seed;
        long eventRate = args.eventRate;
        long disorder = args.disorder;
        return source(env, args, TypeInformation.of(Event.class), watermarks, () -> new EventMaker(seed, eventRate, disorder));
    }

    private static final class EventMaker implements GeneratorSource.Maker<Event> {
        private final Generator generator;
        private final long disorder;
        private final Event event = new Event();

        EventMaker(long seed, long eventRate, long disorder) {
            this.generator = new Generator(seed, eventRate);
            this.disorder = disorder;
        }

        @Override
        public Event make(long number) {
            generator.make(number, event);
            if (disorder > 0) {
                event.delay(generator.delayMs(number, disorder));
            }
            return event;
        }

        @Override
        public long timeMs() {
            return event.time;
        }
    }

    private static <T> void check(DataStream<T> results, CheckSink.X<T> x) {
        results.sinkTo(new CheckSink<>(x)).name("check sum");
    }

    private static long windowX(Counted counted) {
        return counted.key * 3 + counted.count * 5 + counted.endMs * 7;
    }

    /** Every bid. */
    private static void q0(StreamExecutionEnvironment env, Args args) {
        DataStream<Event> bids = events(env, args, WatermarkStrategy.noWatermarks()).filter(event -> event.kind == Event.BID);
        check(bids, event -> event.bid.auction * 3 + event.bid.bidder * 5 + event.bid.price * 7 + event.bid.dateTime);
    }

    /** The auctions with the most bids of ten seconds, every two seconds. */
    private static void q5(StreamExecutionEnvironment env, Args args) {
        SingleOutputStreamOperator<Counted> counts = events(env, args, watermarks(args))
                .flatMap((Event event, Collector<Long> out) -> {
                    if (event.kind == Event.BID) {
                        out.collect(event.bid.auction);
                    }
                })
                .returns(Types.LONG)
                .keyBy(auction -> auction, Types.LONG)
                .window(SlidingEventTimeWindows.of(NEXMARK_WINDOW, Q5_SLIDE))
                .aggregate(new Count(), new WithWindow(), Count.TYPE, Counted.TYPE);
        DataStream<Counted> hottest = counts
                // A result carries the last time of its window: those of one window are those of one slide.
                .transform("most of a subtask", Most.TYPE, new Combine<>(new MostCounted(), Q5_SLIDE.toMillis()))
                .windowAll(TumblingEventTimeWindows.of(Q5_SLIDE))
                .reduce(
                        Most::merge,
                        (TimeWindow window, Iterable<Most> all, Collector<Counted> out) -> {
                            for (Most most : all) {
                                for (int at = 0; at < most.size; at++) {
                                    Counted result = new Counted();
                                    result.key = most.keys[at];
                                    result.count = most.count;
                                    result.endMs = window.getEnd();
                                    out.collect(result);
                                }
                            }
                        },
                        Counted.TYPE);
        check(hottest, Jobs::windowX);
    }

    /** The highest price of ten seconds. */
    private static void q7(StreamExecutionEnvironment env, Args args) {
        SingleOutputStreamOperator<Counted> prices = events(env, args, watermarks(args))
                .flatMap((Event event, Collector<Long> out) -> {
                    if (event.kind == Event.BID) {
                        out.collect(event.bid.price);
                    }
                })
                .returns(Types.LONG)
                .transform("highest of a subtask", Counted.TYPE, new Combine<>(new Highest(), NEXMARK_WINDOW.toMillis()))
                .windowAll(TumblingEventTimeWindows.of(NEXMARK_WINDOW))
                .reduce(
                        (a, b) -> a.key >= b.key ? a : b,
                        (TimeWindow window, Iterable<Counted> all, Collector<Counted> out) -> {
                            for (Counted one : all) {
                                one.endMs = window.getEnd();
                                out.collect(one);
                            }
                        },
                        Counted.TYPE);
        check(prices, price -> price.key * 3 + price.endMs * 7);
    }

    /** Who signs up and sells within ten seconds: the join of the API. */
    private static void q8(StreamExecutionEnvironment env, Args args) {
        DataStream<Event> events = events(env, args, watermarks(args));
        DataStream<NewPerson> people = events.flatMap((Event event, Collector<NewPerson> out) -> {
                    if (event.kind == Event.PERSON) {
                        NewPerson person = new NewPerson();
                        person.id = event.person.id;
                        person.name = event.person.name;
                        person.timeMs = event.person.dateTime;
                        out.collect(person);
                    }
                })
                .returns(NewPerson.TYPE);
        DataStream<NewAuction> auctions = events.flatMap((Event event, Collector<NewAuction> out) -> {
                    if (event.kind == Event.AUCTION) {
                        NewAuction auction = new NewAuction();
                        auction.seller = event.auction.seller;
                        auction.id = event.auction.id;
                        out.collect(auction);
                    }
                })
                .returns(NewAuction.TYPE);
        long sizeMs = NEXMARK_WINDOW.toMillis();
        DataStream<Counted> sellers = people.join(auctions)
                .where(person -> person.id, Types.LONG)
                .equalTo(auction -> auction.seller, Types.LONG)
                .window(TumblingEventTimeWindows.of(NEXMARK_WINDOW))
                .apply(
                        (NewPerson person, NewAuction auction) -> {
                            Counted result = new Counted();
                            result.key = person.id;
                            result.count = auction.id;
                            result.endMs = person.timeMs - person.timeMs % sizeMs + sizeMs;
                            return result;
                        },
                        Counted.TYPE);
        check(sellers, Jobs::windowX);
    }

    /** Bids by bidder and session. */
    private static void q11(StreamExecutionEnvironment env, Args args) {
        DataStream<Long> bidders = events(env, args, watermarks(args))
                .flatMap((Event event, Collector<Long> out) -> {
                    if (event.kind == Event.BID) {
                        out.collect(event.bid.bidder);
                    }
                })
                .returns(Types.LONG);
        check(counts(bidders, EventTimeSessionWindows.withGap(SESSION_GAP)), Jobs::windowX);
    }

    /** Counts of ten thousand keys in windows. */
    private static void windows(StreamExecutionEnvironment env, Args args, WindowAssigner<Object, TimeWindow> windows) {
        long seed = args.seed;
        long eventRate = args.eventRate;
        long disorder = args.disorder;
        WatermarkStrategy<Long> watermarks = watermarks(args);
        DataStream<Long> keys = source(env, args, Types.LONG, watermarks, () -> new TimedKeys(seed, eventRate, disorder));
        check(counts(keys, windows), Jobs::windowX);
    }

    private static final class TimedKeys implements GeneratorSource.Maker<Long> {
        private final Generator generator;
        private final long disorder;
        private long timeMs;

        TimedKeys(long seed, long eventRate, long disorder) {
            this.generator = new Generator(seed, eventRate);
            this.disorder = disorder;
        }

        @Override
        public Long make(long number) {
            timeMs = generator.timeMs(number) - generator.delayMs(number, disorder);
            return generator.key(number, Generator.WINDOWED_KEYS);
        }

        @Override
        public long timeMs() {
            return timeMs;
        }
    }

    private static DataStream<Counted> counts(DataStream<Long> keys, WindowAssigner<Object, TimeWindow> windows) {
        return keys.keyBy(key -> key, Types.LONG)
                .window(windows)
                .aggregate(new Count(), new WithWindow(), Count.TYPE, Counted.TYPE);
    }

    /** A running count of keys. */
    private static void keyed(StreamExecutionEnvironment env, Args args, boolean skewed) {
        long seed = args.seed;
        DataStream<Long> keys =
                source(env, args, Types.LONG, WatermarkStrategy.noWatermarks(), () -> new Keys(seed, skewed));
        DataStream<Counted> counts =
                keys.keyBy(key -> key, Types.LONG).process(new RunningCount()).returns(Counted.TYPE);
        check(counts, counted -> counted.key * 3 + counted.count * 5);
    }

    private static final class Keys implements GeneratorSource.Maker<Long> {
        private final Generator generator;
        private final boolean skewed;

        Keys(long seed, boolean skewed) {
            this.generator = new Generator(seed, 1);
            this.skewed = skewed;
        }

        @Override
        public Long make(long number) {
            return skewed ? generator.skewedKey(number, Generator.KEYS) : generator.key(number, Generator.KEYS);
        }

        @Override
        public long timeMs() {
            return 0;
        }
    }

    private static final class RunningCount extends KeyedProcessFunction<Long, Long, Counted> {
        private transient ValueState<Count.Acc> state;
        private transient Counted result;

        @Override
        public void open(OpenContext context) {
            state = getRuntimeContext().getState(new ValueStateDescriptor<>("count", Count.TYPE));
            result = new Counted();
        }

        @Override
        public void processElement(Long key, Context context, Collector<Counted> out) throws Exception {
            result.key = key;
            result.count = Count.oneMore(state);
            out.collect(result);
        }
    }

    /** A running count of words. */
    private static void wordcount(StreamExecutionEnvironment env, Args args) {
        long seed = args.seed;
        DataStream<String> lines =
                source(env, args, Types.STRING, WatermarkStrategy.noWatermarks(), () -> new Lines(seed));
        DataStream<CountedWord> counts = lines.flatMap(Jobs::split)
                .returns(Types.STRING)
                .keyBy(word -> word, Types.STRING)
                .process(new RunningWordCount())
                .returns(CountedWord.class);
        check(counts, counted -> Generator.fnv1a64(counted.word) + counted.count);
    }

    private static void split(String line, Collector<String> out) {
        int start = 0;
        for (int end = line.indexOf(' '); end >= 0; end = line.indexOf(' ', start)) {
            out.collect(line.substring(start, end));
            start = end + 1;
        }
        out.collect(line.substring(start));
    }

    private static final class Lines implements GeneratorSource.Maker<String> {
        private final Generator generator;

        Lines(long seed) {
            this.generator = new Generator(seed, 1);
        }

        @Override
        public String make(long number) {
            return generator.line(number);
        }

        @Override
        public long timeMs() {
            return 0;
        }
    }

    /** A word and its count; it does not leave its task. */
    public static final class CountedWord {
        public String word;
        public long count;
    }

    private static final class RunningWordCount extends KeyedProcessFunction<String, String, CountedWord> {
        private transient ValueState<Count.Acc> state;
        private transient CountedWord result;

        @Override
        public void open(OpenContext context) {
            state = getRuntimeContext().getState(new ValueStateDescriptor<>("count", Count.TYPE));
            result = new CountedWord();
        }

        @Override
        public void processElement(String word, Context context, Collector<CountedWord> out) throws Exception {
            result.word = word;
            result.count = Count.oneMore(state);
            out.collect(result);
        }
    }

    /** Counts records; the accumulator changes in place. */
    private static final class Count implements AggregateFunction<Long, Count.Acc, Count.Acc> {
        static final TypeInformation<Acc> TYPE = TypeInformation.of(Acc.class);

        public static final class Acc {
            public long count;
        }

        /** Counts in a state. */
        static long oneMore(ValueState<Acc> state) throws Exception {
            Acc acc = state.value();
            if (acc == null) {
                acc = new Acc();
            }
            acc.count++;
            state.update(acc);
            return acc.count;
        }

        @Override
        public Acc createAccumulator() {
            return new Acc();
        }

        @Override
        public Acc add(Long key, Acc acc) {
            acc.count++;
            return acc;
        }

        @Override
        public Acc getResult(Acc acc) {
            return acc;
        }

        @Override
        public Acc merge(Acc a, Acc b) {
            a.count += b.count;
            return a;
        }
    }

    /** Says of a count whose it is and where its window ends. */
    private static final class WithWindow implements WindowFunction<Count.Acc, Counted, Long, TimeWindow> {
        private transient Counted result;

        @Override
        public void apply(Long key, TimeWindow window, Iterable<Count.Acc> counts, Collector<Counted> out) {
            if (result == null) {
                result = new Counted();
            }
            for (Count.Acc acc : counts) {
                result.key = key;
                result.count = acc.count;
                result.endMs = window.getEnd();
                out.collect(result);
            }
        }
    }

    /** Keeps the keys with the greatest count. */
    private static final class MostCounted implements AggregateFunction<Counted, Most, Most> {
        @Override
        public Most createAccumulator() {
            return new Most();
        }

        @Override
        public Most add(Counted counted, Most most) {
            most.add(counted.key, counted.count);
            return most;
        }

        @Override
        public Most getResult(Most most) {
            return most;
        }

        @Override
        public Most merge(Most a, Most b) {
            return a.merge(b);
        }
    }

    /** Keeps the highest price. */
    private static final class Highest implements AggregateFunction<Long, Counted, Counted> {
        @Override
        public Counted createAccumulator() {
            return new Counted();
        }

        @Override
        public Counted add(Long price, Counted highest) {
            highest.key = Math.max(highest.key, price);
            return highest;
        }

        @Override
        public Counted getResult(Counted highest) {
            return highest;
        }

        @Override
        public Counted merge(Counted a, Counted b) {
            return a.key >= b.key ? a : b;
        }
    }
}
