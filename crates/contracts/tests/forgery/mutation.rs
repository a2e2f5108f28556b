use cybermesh_contracts::message::Message;
use cybermesh_contracts::verify::Verified;

fn forge(verified: &mut Verified<Message>, message: Message) {
    *verified.message() = message;
}

fn main() {}
