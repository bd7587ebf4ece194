package wiesel.peer;

import java.io.Serializable;
import java.nio.ByteBuffer;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.apache.flink.api.connector.source.Boundedness;
import org.apache.flink.api.connector.source.ReaderOutput;
import org.apache.flink.api.connector.source.Source;
import org.apache.flink.api.connector.source.SourceReader;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.api.connector.source.SourceSplit;
import org.apache.flink.api.connector.source.SplitEnumerator;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;
import org.apache.flink.core.io.InputStatus;
import org.apache.flink.core.io.SimpleVersionedSerializer;

/**
 * Makes records in the thread of the task that reads them: subtask i of P has the numbers i, i + P, i + 2 P, ...
 *
 * <p>Each subtask has one split, which the enumerator gives to it when it registers.
 */
final class GeneratorSource<T> implements Source<T, GeneratorSource.Split, Integer> {
    /** Records of a call of {@code pollNext}; between two calls a task looks at its mailbox. */
    static final int RECORDS_PER_POLL = 256;

    /** Makes the records of one subtask; it is asked for a new one per subtask. */
    interface Maker<T> {
        /** Record {@code number}; it may be in the memory of the one before. */
        T make(long number);

        /** Event time of the record that was made last, in milliseconds. */
        long timeMs();
    }

    /** Where makers come from. */
    interface Makers<T> extends Serializable {
        Maker<T> maker();
    }

    private final Makers<T> makers;
    private final long count;
    private final int parallelism;

    GeneratorSource(Makers<T> makers, long count, int parallelism) {
        this.makers = makers;
        this.count = count;
        this.parallelism = parallelism;
    }

    @Override
    public Boundedness getBoundedness() {
        return Boundedness.BOUNDED;
    }

    @Override
    public SourceReader<T, Split> createReader(SourceReaderContext context) {
        return new Reader();
    }

    @Override
    public SplitEnumerator<Split, Integer> createEnumerator(SplitEnumeratorContext<Split> context) {
        return new Enumerator(context);
    }

    @Override
    public SplitEnumerator<Split, Integer> restoreEnumerator(SplitEnumeratorContext<Split> context, Integer nothing) {
        return new Enumerator(context);
    }

    @Override
    public SimpleVersionedSerializer<Split> getSplitSerializer() {
        return new SplitSerializer();
    }

    @Override
    public SimpleVersionedSerializer<Integer> getEnumeratorCheckpointSerializer() {
        return new IntegerSerializer();
    }

    /** The numbers of one subtask that are still to be made. */
    record Split(int subtask, long next) implements SourceSplit {
        @Override
        public String splitId() {
            return Integer.toString(subtask);
        }
    }

    private final class Reader implements SourceReader<T, Split> {
        private final Maker<T> maker = makers.maker();
        private final CompletableFuture<Void> hasSplit = new CompletableFuture<>();
        private int subtask;
        private long next;

        @Override
        public void start() {}

        @Override
        public InputStatus pollNext(ReaderOutput<T> output) {
            if (!hasSplit.isDone()) {
                return InputStatus.NOTHING_AVAILABLE;
            }
            Span.begin();
            long number = next;
            long end = Math.min(count, number + (long) RECORDS_PER_POLL * parallelism);
            for (; number < end; number += parallelism) {
                T record = maker.make(number);
                output.collect(record, maker.timeMs());
            }
            next = number;
            return number < count ? InputStatus.MORE_AVAILABLE : InputStatus.END_OF_INPUT;
        }

        @Override
        public List<Split> snapshotState(long checkpoint) {
            return hasSplit.isDone() ? List.of(new Split(subtask, next)) : List.of();
        }

        @Override
        public CompletableFuture<Void> isAvailable() {
            return hasSplit;
        }

        @Override
        public void addSplits(List<Split> splits) {
            subtask = splits.get(0).subtask();
            next = splits.get(0).next();
            hasSplit.complete(null);
        }

        @Override
        public void notifyNoMoreSplits() {}

        @Override
        public void pauseOrResumeSplits(Collection<String> toPause, Collection<String> toResume) {}

        @Override
        public void close() {}
    }

    private static final class Enumerator implements SplitEnumerator<Split, Integer> {
        private final SplitEnumeratorContext<Split> context;

        Enumerator(SplitEnumeratorContext<Split> context) {
            this.context = context;
        }

        @Override
        public void start() {}

        @Override
        public void handleSplitRequest(int subtask, String host) {}

        @Override
        public void addReader(int subtask) {
            context.assignSplit(new Split(subtask, subtask), subtask);
            context.signalNoMoreSplits(subtask);
        }

        @Override
        public void addSplitsBack(List<Split> splits, int subtask) {}

        @Override
        public Integer snapshotState(long checkpoint) {
            return 0;
        }

        @Override
        public void close() {}
    }

    private static final class SplitSerializer implements SimpleVersionedSerializer<Split> {
        @Override
        public int getVersion() {
            return 1;
        }

        @Override
        public byte[] serialize(Split split) {
            return ByteBuffer.allocate(12).putInt(split.subtask()).putLong(split.next()).array();
        }

        @Override
        public Split deserialize(int version, byte[] bytes) {
            ByteBuffer buffer = ByteBuffer.wrap(bytes);
            return new Split(buffer.getInt(), buffer.getLong());
        }
    }

    private static final class IntegerSerializer implements SimpleVersionedSerializer<Integer> {
        @Override
        public int getVersion() {
            return 1;
        }

        @Override
        public byte[] serialize(Integer number) {
            return ByteBuffer.allocate(4).putInt(number).array();
        }

        @Override
        public Integer deserialize(int version, byte[] bytes) {
            return ByteBuffer.wrap(bytes).getInt();
        }
    }
}
