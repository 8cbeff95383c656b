package appstore

var (
	NewTransport  = newTransport
	DecodeGrowing = decodeReply
)
