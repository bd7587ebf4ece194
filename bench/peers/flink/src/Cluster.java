package wiesel.peer;

import org.apache.flink.api.common.RuntimeExecutionMode;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.RestOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.runtime.minicluster.MiniCluster;
import org.apache.flink.runtime.minicluster.MiniClusterConfiguration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/**
 * Flink in this JVM: client, JobManager and one TaskManager with a slot per subtask, so what one task sends to another
 * goes through buffers in memory and no socket, which is Flink's best case.
 *
 * <p>Jobs run one after the other; state is on the heap, and there are no checkpoints.
 */
final class Cluster implements AutoCloseable {
    private final MiniCluster cluster;

    Cluster(int slots) throws Exception {
        Configuration options = new Configuration();
        options.set(TaskManagerOptions.NETWORK_MEMORY_MIN, MemorySize.ofMebiBytes(128));
        options.set(TaskManagerOptions.NETWORK_MEMORY_MAX, MemorySize.ofMebiBytes(128));
        options.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(1_024));
        options.set(RestOptions.BIND_PORT, "0");
        cluster = new MiniCluster(new MiniClusterConfiguration.Builder()
                .setConfiguration(options)
                .setNumTaskManagers(1)
                .setNumSlotsPerTaskManager(slots)
                .build());
        cluster.start();
    }

    /** What a run cost, and its outputs. */
    record Run(Span.Reading cost, CheckSink.Check check) {}

    /** Runs a workload once. */
    Run run(Args args) throws Exception {
        StreamExecutionEnvironment env = new StreamExecutionEnvironment(new Configuration());
        env.setRuntimeMode(RuntimeExecutionMode.STREAMING);
        env.setParallelism(args.parallelism);
        env.getConfig().enableObjectReuse();
        env.getConfig().setAutoWatermarkInterval(200);
        env.setBufferTimeout(100);
        Jobs.ALL.get(args.workload).build(env, args);
        Span.reset();
        CheckSink.reset();
        cluster.executeJobBlocking(env.getStreamGraph().getJobGraph());
        return new Run(Span.length(), CheckSink.total());
    }

    @Override
    public void close() throws Exception {
        cluster.close();
    }
}
