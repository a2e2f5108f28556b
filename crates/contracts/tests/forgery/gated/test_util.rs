use cybermesh_contracts::verify::test_util::verified;

fn main() {
    let _ = verified;
}
