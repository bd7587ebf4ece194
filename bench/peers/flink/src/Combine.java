package wiesel.peer;

import java.util.Map;
import java.util.TreeMap;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;

/**
 * Combines what a subtask has for each window before one subtask gets it, as Flink SQL's local aggregation does: what it
 * has goes out when the watermark passes the window, and before a barrier, so it needs no state of its own.
 *
 * <p>Its results carry the last time of their window.
 */
final class Combine<T, A> extends AbstractStreamOperator<A> implements OneInputStreamOperator<T, A> {
    private final AggregateFunction<T, A, ?> function;
    private final long sizeMs;

    private transient TreeMap<Long, A> windows;
    private transient long endMs;
    private transient A current;

    Combine(AggregateFunction<T, A, ?> function, long sizeMs) {
        this.function = function;
        this.sizeMs = sizeMs;
    }

    @Override
    public void open() throws Exception {
        super.open();
        windows = new TreeMap<>();
        endMs = Long.MIN_VALUE;
    }

    @Override
    public void processElement(StreamRecord<T> element) {
        long time = element.getTimestamp();
        if (time >= endMs || time < endMs - sizeMs) {
            endMs = time - time % sizeMs + sizeMs;
            current = windows.computeIfAbsent(endMs, end -> function.createAccumulator());
        }
        // Accumulators change in place.
        function.add(element.getValue(), current);
    }

    @Override
    public void processWatermark(Watermark mark) throws Exception {
        emitUntil(mark.getTimestamp());
        super.processWatermark(mark);
    }

    @Override
    public void prepareSnapshotPreBarrier(long checkpoint) {
        emitUntil(Long.MAX_VALUE);
    }

    private void emitUntil(long time) {
        while (!windows.isEmpty() && windows.firstKey() - 1 <= time) {
            Map.Entry<Long, A> window = windows.pollFirstEntry();
            output.collect(new StreamRecord<>(window.getValue(), window.getKey() - 1));
            if (window.getKey() == endMs) {
                endMs = Long.MIN_VALUE;
            }
        }
    }
}
