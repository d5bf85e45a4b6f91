"""What both ends of a connection share: HTTP/1.1, the Open Inference Protocol v2, tensors, spans, links, the client."""
