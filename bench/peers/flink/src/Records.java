package wiesel.peer;

import java.io.IOException;
import java.util.Arrays;
import org.apache.flink.api.common.serialization.SerializerConfig;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeutils.SimpleTypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.TypeSerializer;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.base.TypeSerializerSingleton;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;
import org.apache.flink.types.StringValue;

/**
 * What goes from task to task, each with a serializer by hand: fields one after the other, without names, tags or nulls.
 * (Plain numbers and words go as Flink's own {@code Long} and {@code String}, whose serializers do just that.)
 */
final class Records {
    private Records() {}

    /** A count of a key, in a window if it has one. */
    public static final class Counted {
        public long key;
        public long count;
        public long endMs;

        static final TypeInformation<Counted> TYPE = new Type<>(Counted.class, new CountedSerializer());
    }

    /** Somebody signs up, for q8. */
    public static final class NewPerson {
        public long id;
        public String name;
        public long timeMs;

        static final TypeInformation<NewPerson> TYPE = new Type<>(NewPerson.class, new NewPersonSerializer());
    }

    /** Somebody sells, for q8. */
    public static final class NewAuction {
        public long seller;
        public long id;

        static final TypeInformation<NewAuction> TYPE = new Type<>(NewAuction.class, new NewAuctionSerializer());
    }

    /** The keys that have the greatest count so far: what {@link Jobs} combines for q5. */
    public static final class Most {
        public long count;
        public int size;
        public long[] keys = new long[4];

        static final TypeInformation<Most> TYPE = new Type<>(Most.class, new MostSerializer());

        /** Takes a key in. */
        void add(long key, long itsCount) {
            if (itsCount < count) {
                return;
            }
            if (itsCount > count) {
                count = itsCount;
                size = 0;
            }
            if (size == keys.length) {
                keys = Arrays.copyOf(keys, 2 * size);
            }
            keys[size++] = key;
        }

        /** Takes another's keys in. */
        Most merge(Most other) {
            for (int at = 0; at < other.size; at++) {
                add(other.keys[at], other.count);
            }
            return this;
        }
    }

    /** A serializer writes and reads fields; all else follows. */
    abstract static class Fields<T> extends TypeSerializerSingleton<T> {
        abstract void write(T record, DataOutputView out) throws IOException;

        abstract T read(T into, DataInputView in) throws IOException;

        abstract T copyFields(T from, T into);

        @Override
        public boolean isImmutableType() {
            return false;
        }

        @Override
        public T copy(T from) {
            return copyFields(from, createInstance());
        }

        @Override
        public T copy(T from, T reuse) {
            return copyFields(from, reuse);
        }

        @Override
        public int getLength() {
            return -1;
        }

        @Override
        public void serialize(T record, DataOutputView out) throws IOException {
            write(record, out);
        }

        @Override
        public T deserialize(DataInputView in) throws IOException {
            return read(createInstance(), in);
        }

        @Override
        public T deserialize(T reuse, DataInputView in) throws IOException {
            return read(reuse, in);
        }

        @Override
        public void copy(DataInputView in, DataOutputView out) throws IOException {
            write(deserialize(in), out);
        }
    }

    static final class CountedSerializer extends Fields<Counted> {
        @Override
        public Counted createInstance() {
            return new Counted();
        }

        @Override
        public int getLength() {
            return 24;
        }

        @Override
        void write(Counted counted, DataOutputView out) throws IOException {
            out.writeLong(counted.key);
            out.writeLong(counted.count);
            out.writeLong(counted.endMs);
        }

        @Override
        Counted read(Counted into, DataInputView in) throws IOException {
            into.key = in.readLong();
            into.count = in.readLong();
            into.endMs = in.readLong();
            return into;
        }

        @Override
        Counted copyFields(Counted from, Counted into) {
            into.key = from.key;
            into.count = from.count;
            into.endMs = from.endMs;
            return into;
        }

        @Override
        public TypeSerializerSnapshot<Counted> snapshotConfiguration() {
            return new Snapshot();
        }

        public static final class Snapshot extends SimpleTypeSerializerSnapshot<Counted> {
            public Snapshot() {
                super(CountedSerializer::new);
            }
        }
    }

    static final class NewPersonSerializer extends Fields<NewPerson> {
        @Override
        public NewPerson createInstance() {
            return new NewPerson();
        }

        @Override
        void write(NewPerson person, DataOutputView out) throws IOException {
            out.writeLong(person.id);
            StringValue.writeString(person.name, out);
            out.writeLong(person.timeMs);
        }

        @Override
        NewPerson read(NewPerson into, DataInputView in) throws IOException {
            into.id = in.readLong();
            into.name = StringValue.readString(in);
            into.timeMs = in.readLong();
            return into;
        }

        @Override
        NewPerson copyFields(NewPerson from, NewPerson into) {
            into.id = from.id;
            into.name = from.name;
            into.timeMs = from.timeMs;
            return into;
        }

        @Override
        public TypeSerializerSnapshot<NewPerson> snapshotConfiguration() {
            return new Snapshot();
        }

        public static final class Snapshot extends SimpleTypeSerializerSnapshot<NewPerson> {
            public Snapshot() {
                super(NewPersonSerializer::new);
            }
        }
    }

    static final class NewAuctionSerializer extends Fields<NewAuction> {
        @Override
        public NewAuction createInstance() {
            return new NewAuction();
        }

        @Override
        public int getLength() {
            return 16;
        }

        @Override
        void write(NewAuction auction, DataOutputView out) throws IOException {
            out.writeLong(auction.seller);
            out.writeLong(auction.id);
        }

        @Override
        NewAuction read(NewAuction into, DataInputView in) throws IOException {
            into.seller = in.readLong();
            into.id = in.readLong();
            return into;
        }

        @Override
        NewAuction copyFields(NewAuction from, NewAuction into) {
            into.seller = from.seller;
            into.id = from.id;
            return into;
        }

        @Override
        public TypeSerializerSnapshot<NewAuction> snapshotConfiguration() {
            return new Snapshot();
        }

        public static final class Snapshot extends SimpleTypeSerializerSnapshot<NewAuction> {
            public Snapshot() {
                super(NewAuctionSerializer::new);
            }
        }
    }

    static final class MostSerializer extends Fields<Most> {
        @Override
        public Most createInstance() {
            return new Most();
        }

        @Override
        void write(Most most, DataOutputView out) throws IOException {
            out.writeLong(most.count);
            out.writeInt(most.size);
            for (int at = 0; at < most.size; at++) {
                out.writeLong(most.keys[at]);
            }
        }

        @Override
        Most read(Most into, DataInputView in) throws IOException {
            into.count = in.readLong();
            into.size = in.readInt();
            into.keys = new long[Math.max(into.size, 4)];
            for (int at = 0; at < into.size; at++) {
                into.keys[at] = in.readLong();
            }
            return into;
        }

        @Override
        Most copyFields(Most from, Most into) {
            into.count = from.count;
            into.size = from.size;
            into.keys = from.keys.clone();
            return into;
        }

        @Override
        public TypeSerializerSnapshot<Most> snapshotConfiguration() {
            return new Snapshot();
        }

        public static final class Snapshot extends SimpleTypeSerializerSnapshot<Most> {
            public Snapshot() {
                super(MostSerializer::new);
            }
        }
    }

    /** The type of records with one serializer. */
    private static final class Type<T> extends TypeInformation<T> {
        private final Class<T> records;
        private final TypeSerializer<T> serializer;

        Type(Class<T> records, TypeSerializer<T> serializer) {
            this.records = records;
            this.serializer = serializer;
        }

        @Override
        public boolean isBasicType() {
            return false;
        }

        @Override
        public boolean isTupleType() {
            return false;
        }

        @Override
        public int getArity() {
            return 1;
        }

        @Override
        public int getTotalFields() {
            return 1;
        }

        @Override
        public Class<T> getTypeClass() {
            return records;
        }

        @Override
        public boolean isKeyType() {
            return false;
        }

        @Override
        public TypeSerializer<T> createSerializer(SerializerConfig config) {
            return serializer;
        }

        @Override
        public String toString() {
            return records.getSimpleName();
        }

        @Override
        public boolean equals(Object other) {
            return other instanceof Type<?> type && type.records == records;
        }

        @Override
        public int hashCode() {
            return records.hashCode();
        }

        @Override
        public boolean canEqual(Object other) {
            return other instanceof Type;
        }
    }
}
