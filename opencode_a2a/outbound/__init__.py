"""HTTP that goes out on somebody else's word: push notifications, and the agents that a model calls.

`CheckedTransport` is a transport for httpx that asks a policy of the core about every URL and every address. It
raises the exceptions of httpx, and beside them:

    TransportError
      OutboundError
        TargetRefusedError          the policy does not allow the URL, an address, or credentials
        AnswerTooLargeError         the answer has more bytes than its limit
        EncodedAnswerError          the answer is compressed, though nobody asked for that
        CertificatesError           the trusted certificates cannot be loaded
"""
