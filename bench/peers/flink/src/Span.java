package wiesel.peer;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;

import com.sun.management.OperatingSystemMXBean;

/**
 * What a run costs, from its first event until the last sink has seen its end: what it takes Flink to deploy a job is
 * left out, in its favour.
 *
 * <p>Sources and sinks are tasks of this process, so its clock is theirs; one job runs at a time.
 */
final class Span {
    private static final OperatingSystemMXBean SYSTEM =
            (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

    private static volatile Reading first;
    private static Reading last;

    private Span() {}

    /** The clocks at one time. CPU is that of all threads of the process: tasks, compiler, collector. */
    record Reading(long nanos, long cpuNanos, long switches, double stolenSeconds) {
        static Reading now() {
            return new Reading(System.nanoTime(), SYSTEM.getProcessCpuTime(), Span.switchesSoFar(), Span.stolenSoFar());
        }
    }

    /** Forgets the run before. */
    static synchronized void reset() {
        first = null;
        last = null;
    }

    /** A source is about to make an event. */
    static void begin() {
        if (first == null) {
            beginOnce();
        }
    }

    private static synchronized void beginOnce() {
        if (first == null) {
            first = Reading.now();
        }
    }

    /** A sink has seen its end. */
    static synchronized void end() {
        last = Reading.now();
    }

    /** What lies between. */
    static synchronized Reading length() {
        return new Reading(
                last.nanos - first.nanos,
                last.cpuNanos - first.cpuNanos,
                Math.max(last.switches - first.switches, 0),
                last.stolenSeconds - first.stolenSeconds);
    }

    /** The largest resident set of the process so far. */
    static long peakRssBytes() throws IOException {
        return field(Path.of("/proc/self/status"), "VmHWM:") * 1_024;
    }

    /** How often threads that live now were taken off their core while they had work. */
    private static long switchesSoFar() {
        long count = 0;
        try (DirectoryStream<Path> threads = Files.newDirectoryStream(Path.of("/proc/self/task"))) {
            for (Path thread : threads) {
                try {
                    count += field(thread.resolve("status"), "nonvoluntary_ctxt_switches:");
                } catch (IOException ended) {
                    // A thread that has ended has no file.
                }
            }
        } catch (IOException error) {
            return 0;
        }
        return count;
    }

    /** Time that the hypervisor gave to others: the eighth figure of the first line, in ticks of 10 ms. */
    private static double stolenSoFar() {
        try {
            String line = Files.readString(Path.of("/proc/stat")).lines().findFirst().orElse("");
            return Long.parseLong(line.split("\\s+")[8]) / 100.0;
        } catch (IOException | RuntimeException error) {
            return 0;
        }
    }

    private static long field(Path file, String name) throws IOException {
        return Files.readString(file)
                .lines()
                .filter(line -> line.startsWith(name))
                .mapToLong(line -> Long.parseLong(line.split("\\s+")[1]))
                .findFirst()
                .orElse(0);
    }
}
