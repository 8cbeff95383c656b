package applesign

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// Header is the protected header that Apple sends: alg and x5c, the leaf first.
// Certificates are in standard base64, unlike everything else in a JWS.
func (a *Authority) Header() map[string]any {
	var x5c []string
	for role := Leaf; role >= Root; role-- {
		x5c = append(x5c, base64.StdEncoding.EncodeToString(a.Certificates[role].Raw))
	}
	return map[string]any{"alg": "ES256", "x5c": x5c}
}

// JWS signs a payload, given as JSON or as anything that has a form in JSON.
func (a *Authority) JWS(payload any) (string, error) { return a.JWSWithHeader(a.Header(), payload) }

// JWSWithHeader signs a payload with any header, by ES256 whatever that says.
func (a *Authority) JWSWithHeader(header map[string]any, payload any) (string, error) {
	input, err := SigningInput(header, payload)
	if err != nil {
		return "", err
	}
	signature, err := a.Sign([]byte(input))
	if err != nil {
		return "", err
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// SigningInput is a JWS without its signature.
func SigningInput(header map[string]any, payload any) (string, error) {
	protected, err := json.Marshal(header)
	if err != nil {
		return "", err
	}
	body, ok := payload.([]byte)
	if !ok {
		if body, err = json.Marshal(payload); err != nil {
			return "", err
		}
	}
	return base64.RawURLEncoding.EncodeToString(protected) + "." + base64.RawURLEncoding.EncodeToString(body), nil
}

// Sign is ES256: the two numbers of the signature, 32 bytes each.
func (a *Authority) Sign(input []byte) ([]byte, error) {
	key, ok := a.Keys[Leaf].(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("sign a JWS: the leaf has a key of type %T", a.Keys[Leaf])
	}
	sum := sha256.Sum256(input)
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		return nil, err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signature, nil
}
