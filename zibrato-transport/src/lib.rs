//! The connecting ends of Zibrato's ZeroMQ sockets, with reconnection and silence detection
