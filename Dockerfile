# Two images from one build: revalidator, the last and so the default, and
# applesim, the simulated App Store, which never goes into production.
FROM golang:1.26-bookworm AS build
WORKDIR /src
# Apart from the code, so that a change of it does not download them again.
COPY go.mod go.sum ./
RUN go mod download
COPY cmd cmd
COPY internal internal
COPY jobs jobs
COPY repository repository
COPY scheduler scheduler
COPY worker worker
# Without cgo the programs need no C library, which the images do not have.
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/ ./cmd/revalidator ./cmd/applesim

# The debug variant has a busybox, whose wget asks for /healthz. Both variants
# have certificates, time zones and a user that is not root.
FROM gcr.io/distroless/static-debian12:debug-nonroot AS base

FROM base AS applesim
COPY --from=build /out/applesim /usr/local/bin/applesim
ENTRYPOINT ["/usr/local/bin/applesim"]

FROM base AS revalidator
COPY --from=build /out/revalidator /usr/local/bin/revalidator
ENTRYPOINT ["/usr/local/bin/revalidator"]
