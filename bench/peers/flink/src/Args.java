package wiesel.peer;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;

/**
 * The command line, that of the other peers, with what sessions and windows add to it.
 *
 * <pre>
 *   run WORKLOAD --events N --parallelism P [--event-rate R] [--seed S] [--disorder D] [--slides N] [--runs K]
 *   run --self-check
 * </pre>
 */
final class Args {
    String workload;
    long events;
    int parallelism;
    long eventRate = 1_000_000;
    long seed = Generator.SEED;

    /** Of a hundred events, how many are late. */
    long disorder;

    /** Windows over each time, of sliding. */
    long slides = 10;

    /** Runs in this JVM, one after the other; the first warms up. */
    int runs = 4;

    /** What is wrong with a command line, in one line. */
    static final class Wrong extends Exception {
        Wrong(String message) {
            super(message);
        }
    }

    static Args parse(String... line) throws Wrong {
        Args args = new Args();
        Deque<String> rest = new ArrayDeque<>(List.of(line));
        while (!rest.isEmpty()) {
            String word = rest.pop();
            switch (word) {
                case "--events" -> args.events = number(word, rest, 1, Long.MAX_VALUE / 1_000);
                case "--parallelism" -> args.parallelism = (int) number(word, rest, 1, 128);
                case "--event-rate" -> args.eventRate = number(word, rest, 1, Long.MAX_VALUE);
                case "--seed" -> args.seed = seed(value(word, rest));
                case "--disorder" -> args.disorder = number(word, rest, 0, 100);
                case "--slides" -> args.slides = number(word, rest, 1, 60_000);
                case "--runs" -> args.runs = (int) number(word, rest, 2, 1_000);
                default -> {
                    if (word.startsWith("-")) {
                        throw new Wrong("invalid option '" + word + "'");
                    }
                    if (args.workload != null) {
                        throw new Wrong("unexpected argument '" + word + "'");
                    }
                    args.workload = word;
                }
            }
        }
        if (args.workload == null) {
            throw new Wrong("WORKLOAD is missing");
        }
        if (!Jobs.ALL.containsKey(args.workload)) {
            throw new Wrong("`" + args.workload + "` is not a workload here: there is " + String.join(", ", Jobs.ALL.keySet()));
        }
        if (args.events == 0 || args.parallelism == 0) {
            throw new Wrong((args.events == 0 ? "--events" : "--parallelism") + " is missing");
        }
        if (60_000 % args.slides != 0) {
            throw new Wrong("--slides " + args.slides + ": windows of 60000 ms slide by whole milliseconds: take 10, 60 or 600");
        }
        return args;
    }

    private static String value(String option, Deque<String> rest) throws Wrong {
        if (rest.isEmpty()) {
            throw new Wrong("missing argument for option '" + option + "'");
        }
        return rest.pop();
    }

    private static long number(String option, Deque<String> rest, long least, long most) throws Wrong {
        String text = value(option, rest);
        try {
            long number = Long.parseLong(text);
            if (least <= number && number <= most) {
                return number;
            }
        } catch (NumberFormatException notANumber) {
            // Said below.
        }
        throw new Wrong(option + " must be a whole number from " + least + " to " + most + ", not `" + text + "`");
    }

    private static long seed(String text) throws Wrong {
        try {
            return Long.parseUnsignedLong(text);
        } catch (NumberFormatException notANumber) {
            throw new Wrong("--seed must be a 64-bit number, not `" + text + "`");
        }
    }
}
