package wiesel.peer;

import java.io.Serializable;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;

/**
 * The end of every job: counts outputs and adds up {@code mix(x)} of each, which no order changes.
 *
 * <p>Its writers add up in this process, where all tasks are; one job runs at a time.
 */
final class CheckSink<T> implements Sink<T> {
    private static final AtomicLong OUT = new AtomicLong();
    private static final AtomicLong SUM = new AtomicLong();

    /** What stands for an output in the sum. */
    interface X<T> extends Serializable {
        long of(T output);
    }

    /** The outputs of a run. */
    record Check(long out, long sum) {
        String sumText() {
            return String.format("%016x", sum);
        }
    }

    private final X<T> x;

    CheckSink(X<T> x) {
        this.x = x;
    }

    /** Forgets the run before. */
    static void reset() {
        OUT.set(0);
        SUM.set(0);
    }

    static Check total() {
        return new Check(OUT.get(), SUM.get());
    }

    @Override
    public SinkWriter<T> createWriter(WriterInitContext context) {
        return new Writer<>(x);
    }

    private static final class Writer<T> implements SinkWriter<T> {
        private final X<T> x;
        private long out;
        private long sum;

        Writer(X<T> x) {
            this.x = x;
        }

        @Override
        public void write(T output, Context context) {
            out++;
            sum += Generator.mix(x.of(output));
        }

        @Override
        public void flush(boolean endOfInput) {
            OUT.addAndGet(out);
            SUM.addAndGet(sum);
            out = 0;
            sum = 0;
            if (endOfInput) {
                Span.end();
            }
        }

        @Override
        public void close() {}
    }
}
