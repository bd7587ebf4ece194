package wiesel.peer;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * Flink as a peer: runs a workload some times in one JVM, and prints the median of the runs behind the first as one object.
 *
 * <p>Standard output has that line and nothing else. All runs have the same outputs, or nothing is printed.
 */
public final class Main {
    private Main() {}

    public static void main(String[] line) {
        int code;
        try {
            code = line.length == 1 && line[0].equals("--self-check") ? SelfCheck.run() : run(Args.parse(line));
        } catch (Args.Wrong wrong) {
            System.err.println("flink: " + wrong.getMessage());
            code = 2;
        } catch (Exception failed) {
            Throwable cause = failed;
            while (cause.getCause() != null) {
                cause = cause.getCause();
            }
            System.err.println("flink: Flink failed: " + cause);
            code = 1;
        }
        // Flink's threads would keep the process.
        System.exit(code);
    }

    private static int run(Args args) throws Exception {
        List<Cluster.Run> runs = new ArrayList<>();
        try (Cluster cluster = new Cluster(args.parallelism)) {
            for (int at = 0; at < args.runs; at++) {
                runs.add(cluster.run(args));
            }
        }
        Cluster.Run cold = runs.remove(0);
        if (runs.stream().anyMatch(run -> !run.check().equals(cold.check()))) {
            System.err.println("flink: runs of one input gave different outputs");
            return 1;
        }
        runs.sort(Comparator.comparingLong(run -> run.cost().nanos()));
        Cluster.Run median = runs.get((runs.size() - 1) / 2);
        System.err.printf(
                "flink: the first run took %.3f s; of the %d behind it, %.3f to %.3f s, the median is reported%n",
                seconds(cold), runs.size(), seconds(runs.get(0)), seconds(runs.get(runs.size() - 1)));
        System.out.println(object(args, median, cold, runs.size()));
        return 0;
    }

    private static double seconds(Cluster.Run run) {
        return run.cost().nanos() / 1e9;
    }

    private static String object(Args args, Cluster.Run run, Cluster.Run cold, int warmRuns) throws Exception {
        String[] fields = {
            "\"workload\":\"" + args.workload + "\"",
            "\"engine\":\"flink\"",
            "\"parallelism\":" + args.parallelism,
            "\"events\":" + args.events,
            "\"seconds\":" + seconds(run),
            "\"cpu_seconds\":" + run.cost().cpuNanos() / 1e9,
            "\"events_per_second\":" + args.events / seconds(run),
            "\"peak_rss_bytes\":" + Span.peakRssBytes(),
            "\"allocations\":null",
            "\"out\":" + Long.toUnsignedString(run.check().out()),
            "\"sum\":\"" + run.check().sumText() + "\"",
            "\"involuntary_switches\":" + run.cost().switches(),
            "\"stolen_seconds\":" + run.cost().stolenSeconds(),
            "\"warm_runs\":" + warmRuns,
            "\"cold_seconds\":" + seconds(cold),
        };
        return "{" + String.join(",", fields) + "}";
    }
}
