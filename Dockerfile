# A node: perdure serve with the actors in /app/actors. Put yours there, in an image FROM this one or in a volume:
#   docker run -v ./actors:/app/actors:ro -e PERDURE_NATS_URL=… -e PERDURE_DATABASE_URL=… perdure perdure serve actors/mine.ts

FROM node:24-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json README.md LICENSE CHANGELOG.md nats.conf ./
COPY src src
COPY docs docs
RUN npm pack --silent
# What production needs, at the versions of the lock file; XState is a peer, so it is carried over by hand.
RUN cp -r node_modules/xstate /tmp/xstate \
 && npm prune --omit=dev --ignore-scripts --no-audit --no-fund \
 && rm -rf node_modules/xstate && cp -r /tmp/xstate node_modules/xstate \
 && mkdir node_modules/perdure \
 && tar -xzf perdure-*.tgz --strip-components=1 -C node_modules/perdure \
 && mkdir -p node_modules/.bin && ln -sf ../perdure/dist/cli/main.js node_modules/.bin/perdure
RUN printf '{"private":true,"type":"module"}\n' > app.json

FROM node:24-slim
ENV NODE_ENV=production PATH=/app/node_modules/.bin:$PATH
WORKDIR /app
COPY --from=build /build/app.json package.json
COPY --from=build /build/node_modules node_modules
COPY examples/order.ts actors/order.ts
USER node
STOPSIGNAL SIGTERM
CMD ["perdure", "serve", "actors/order.ts"]
