use cybermesh_contracts::message::Message;
use cybermesh_contracts::verify::Verified;

fn forge(message: Message) -> Verified<Message> {
    message.into()
}

fn main() {}
