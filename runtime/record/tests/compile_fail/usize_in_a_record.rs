fn needs_record<T: wiesel_record::Record>() {}

fn main() {
    needs_record::<(String, usize)>();
    needs_record::<std::collections::HashMap<String, u64>>();
}
