// Judges payloads with Apple's own library: a JSON object on each line of the
// input, a verdict on each line of the output. See interop.go for both.
import { createInterface } from 'node:readline'
import { SignedDataVerifier, VerificationStatus } from '@apple/app-store-server-library'

const methods = {
  transaction: 'verifyAndDecodeTransaction',
  renewal_info: 'verifyAndDecodeRenewalInfo',
  app_transaction: 'verifyAndDecodeAppTransaction',
  notification: 'verifyAndDecodeNotification',
}

async function judge(request) {
  const verifier = new SignedDataVerifier(
    [Buffer.from(request.root, 'base64')], false, request.environment, request.bundle_id, request.app_apple_id)
  const method = methods[request.kind]
  try {
    const started = process.hrtime.bigint()
    for (let i = 0; i < request.times; i++) await verifier[method](request.jws)
    return { verified: true, nanoseconds: Number(process.hrtime.bigint() - started) / request.times }
  } catch (error) {
    const status = error?.status
    return { verified: false, status: status === undefined ? String(error) : VerificationStatus[status] }
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line)
  process.stdout.write(JSON.stringify(await judge(request)) + '\n')
}
