package appstore

var NewTransport = newTransport
