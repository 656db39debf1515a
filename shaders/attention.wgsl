// attention — each query looks at one range of keys; the scores are never stored.
//   forward         y_i = Σ_j p_ij v_j     s_ij = scale·(q_i · k_j),  lse_i = log Σ_j exp(s_ij),  p_ij = exp(s_ij − lse_i)
//                   over the keys j in key_range[i], by an online softmax; a query that sees no key gets zeros
//   backward_delta  δ_i = dy_i · y_i       which is Σ_j p_ij (dy_i · v_j)
//   backward_query  dq_i = Σ_j ds_ij k_j   ds_ij = scale·p_ij·(dy_i · v_j − δ_i)
//   backward_key    dk_j = Σ_i ds_ij q_i,  dv_j = Σ_i p_ij dy_i   also over the query heads that share the key's head
//   backward_clear  zeros, where a gradient has columns that are neither q, k nor v
// q, dq [queries, q_width], heads·head_dim columns from q_start; kv, dkv [keys, kv_width], key_value_heads·head_dim
// columns from key_start and from value_start; they may be one value, of which the passes write different columns.
// `sums` is what a pass makes: y, dq or dkv.
// y, dy [queries, heads·head_dim]; lse [queries, heads]; stats = (lse, δ) [queries, heads]: one buffer, so that no
// pass needs more than eight. key_range [queries], query_range [keys]: (first, end); query_range bounds the loops of
// backward_key, key_range alone decides which pairs count.
//
// An invocation owns a tile of four rows of one head and meets the other side a tile at a time, with the scores of all
// pairs in registers. Its sums lie in one of two places:
//   SUMS_IN_MEMORY  where they end up, for software devices: little code, which takes them long to compile
//   otherwise       in named registers, a slice of at most 8 fours of features; a wider head is cut into slices, each
//                   of which computes the scores anew. For GPUs. backward_key has two sums, of at most 4 fours each.
// Absent: workgroup memory. Neighbouring lanes of a GPU have neighbouring tiles and read the same keys from the cache.
struct Params {
  queries_extent: u32,
  keys_extent: u32,
  heads: u32,
  key_value_heads: u32,
  head_dim: u32,
  slices: u32,
  q_width: u32,
  q_start: u32,
  kv_width: u32,
  key_start: u32,
  value_start: u32,
  scale: f32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> q: array<vec4f>;
@group(0) @binding(3) var<storage, read> kv: array<vec4f>;
@group(0) @binding(4) var<storage, read> key_range: array<vec2u>;
@group(0) @binding(5) var<storage, read> query_range: array<vec2u>;
@group(0) @binding(6) var<storage, read_write> sums: array<f32>;
@group(0) @binding(7) var<storage, read_write> lse_out: array<f32>;
@group(0) @binding(8) var<storage, read> y_saved: array<vec4f>;
@group(0) @binding(9) var<storage, read> lse: array<f32>;
@group(0) @binding(10) var<storage, read> dy: array<vec4f>;
@group(0) @binding(11) var<storage, read_write> stats_out: array<vec2f>;
@group(0) @binding(12) var<storage, read> stats: array<vec2f>;

override SUMS_IN_MEMORY: bool = false;
// Four-feature columns of an invocation's slice where its sums are in registers: at most 8, in backward_key 4.
override QUADS: u32 = 8;
// Every row and head starts at a multiple of four: whole vectors can be read.
override ALIGNED: bool = true;
override LANES: u32 = 64;

const TILE = 4u;
const STEPS = vec4u(0u, 1u, 2u, 3u);
const NONE = 0xffffffffu;
// A hidden pair's score lies so far below where the running maximum starts that its exp is 0, never that of −∞ − −∞.
const HIDDEN = -2e38;
const START = -1e38;

// A tile's four rows, or its pairs with another tile's, as vectors and matrices:
//   mat4x4f of rows   four features of each; column i is row i
//   mat4x4f of pairs  a number for each; columns are keys, components are queries
//   vec4f, vec4u      a number for each row

// What each row of a tile sees of the other side, [first, end).
struct Ranges {
  first: vec4u,
  end: vec4u,
}
// Which rows, head and features are this invocation's.
struct Place {
  row: u32,
  head: u32,
  quad: u32,
}

// A GPU's neighbouring lanes take tiles of one head, which share keys in the cache; a software device's, which run in
// lockstep, take heads of one tile, whose loops are equally long. Lanes past the last get a row that is not live.
fn place_of(i: u32, rows: u32, heads: u32) -> Place {
  let tiles = (rows + TILE - 1u) / TILE;
  let parts = heads * params.slices;
  let tile = select(i % tiles, i / parts, SUMS_IN_MEMORY);
  let part = select(i / tiles, i % parts, SUMS_IN_MEMORY);
  return Place(select(rows, tile * TILE, part < parts), part / params.slices, part % params.slices * QUADS);
}

fn key_value_head(head: u32) -> u32 {
  return head / (params.heads / params.key_value_heads);
}

fn rows_from(row: u32) -> vec4u {
  return row + STEPS;
}

// Rows from `end` on become the last before it. In the tile that an invocation owns they are its exact doubles, and
// write what it writes; in the tile that it meets they are hidden. What lies beyond is never read.
fn within(rows: vec4u, end: u32) -> vec4u {
  return min(rows, vec4u(end - 1u));
}

fn starts(rows: vec4u, width: u32, column: u32) -> vec4u {
  return rows * width + column;
}

// Whether an invocation's slice is so wide that it has the sum `k`.
fn has(k: u32) -> bool {
  return k < QUADS;
}

// Which of four features belong to the head.
fn inside(quad: u32) -> vec4<bool> {
  return 4u * quad + STEPS < vec4u(params.head_dim);
}

fn q_quad(start: u32, quad: u32) -> vec4f {
  if (ALIGNED) {
    return q[start / 4u + quad];
  }
  let at = (start + 4u * quad + STEPS) / 4u;
  let c = (start + STEPS) % 4u;
  return select(vec4f(), vec4f(q[at.x][c.x], q[at.y][c.y], q[at.z][c.z], q[at.w][c.w]), inside(quad));
}

fn q_rows(at: vec4u, quad: u32) -> mat4x4f {
  return mat4x4f(q_quad(at.x, quad), q_quad(at.y, quad), q_quad(at.z, quad), q_quad(at.w, quad));
}

fn kv_quad(start: u32, quad: u32) -> vec4f {
  if (ALIGNED) {
    return kv[start / 4u + quad];
  }
  let at = (start + 4u * quad + STEPS) / 4u;
  let c = (start + STEPS) % 4u;
  return select(vec4f(), vec4f(kv[at.x][c.x], kv[at.y][c.y], kv[at.z][c.z], kv[at.w][c.w]), inside(quad));
}

fn kv_rows(at: vec4u, quad: u32) -> mat4x4f {
  return mat4x4f(kv_quad(at.x, quad), kv_quad(at.y, quad), kv_quad(at.z, quad), kv_quad(at.w, quad));
}

fn dy_quad(start: u32, quad: u32) -> vec4f {
  if (ALIGNED) {
    return dy[start / 4u + quad];
  }
  let at = (start + 4u * quad + STEPS) / 4u;
  let c = (start + STEPS) % 4u;
  return select(vec4f(), vec4f(dy[at.x][c.x], dy[at.y][c.y], dy[at.z][c.z], dy[at.w][c.w]), inside(quad));
}

fn dy_rows(at: vec4u, quad: u32) -> mat4x4f {
  return mat4x4f(dy_quad(at.x, quad), dy_quad(at.y, quad), dy_quad(at.z, quad), dy_quad(at.w, quad));
}

// Sums as they lie in memory, and their way there. One by one: where a head's width is no multiple of four two heads
// share a vector, and two invocations must not write the same one.
fn sum_quad(start: u32, quad: u32) -> vec4f {
  let at = start + 4u * quad;
  return vec4f(sums[at], sums[at + 1u], sums[at + 2u], sums[at + 3u]);
}

fn sum_rows(at: vec4u, quad: u32) -> mat4x4f {
  return mat4x4f(sum_quad(at.x, quad), sum_quad(at.y, quad), sum_quad(at.z, quad), sum_quad(at.w, quad));
}

fn put_quad(start: u32, quad: u32, sum: vec4f) {
  let at = start + 4u * quad;
  if (ALIGNED) {
    sums[at] = sum.x; sums[at + 1u] = sum.y; sums[at + 2u] = sum.z; sums[at + 3u] = sum.w;
  } else {
    let kept = inside(quad);
    if (kept.x) { sums[at] = sum.x; }
    if (kept.y) { sums[at + 1u] = sum.y; }
    if (kept.z) { sums[at + 2u] = sum.z; }
    if (kept.w) { sums[at + 3u] = sum.w; }
  }
}

fn put_rows(at: vec4u, quad: u32, rows: mat4x4f) {
  if (4u * quad >= params.head_dim) {
    return;
  }
  put_quad(at.x, quad, rows[0]); put_quad(at.y, quad, rows[1]);
  put_quad(at.z, quad, rows[2]); put_quad(at.w, quad, rows[3]);
}

// sum + the products of each query with each key, over the four features at hand.
fn dots(sum: mat4x4f, queries: mat4x4f, keys: mat4x4f) -> mat4x4f {
  return sum + transpose(queries) * keys;
}

// sum_i + Σ_j weight_ij key_j, for each query i.
fn over_keys(sum: mat4x4f, weight: mat4x4f, keys: mat4x4f) -> mat4x4f {
  return sum + keys * transpose(weight);
}

// sum_j + Σ_i weight_ij query_i, for each key j.
fn over_queries(sum: mat4x4f, weight: mat4x4f, queries: mat4x4f) -> mat4x4f {
  return sum + queries * weight;
}

fn scaled(rows: mat4x4f, by: vec4f) -> mat4x4f {
  return mat4x4f(rows[0] * by.x, rows[1] * by.y, rows[2] * by.z, rows[3] * by.w);
}

fn ranges(k: vec2u, l: vec2u, m: vec2u, n: vec2u) -> Ranges {
  return Ranges(vec4u(k.x, l.x, m.x, n.x), vec4u(k.y, l.y, m.y, n.y));
}

fn key_span(rows: vec4u) -> Ranges {
  return ranges(key_range[rows.x], key_range[rows.y], key_range[rows.z], key_range[rows.w]);
}

fn query_span(rows: vec4u) -> Ranges {
  return ranges(query_range[rows.x], query_range[rows.y], query_range[rows.z], query_range[rows.w]);
}

fn smallest(v: vec4u) -> u32 {
  return min(min(v.x, v.y), min(v.z, v.w));
}

// The first index from `at` on that some row of the tile sees, or NONE: what lies between two ranges is passed over.
fn next_seen(span: Ranges, at: u32) -> u32 {
  return smallest(select(vec4u(NONE), max(span.first, vec4u(at)), span.end > vec4u(at)));
}

// Where the last range ends; at least 1, since a tile that sees nothing meets one tile all the same, from NONE on.
fn last_seen(span: Ranges) -> u32 {
  let end = span.end;
  return max(max(max(end.x, end.y), max(end.z, end.w)), 1u);
}

fn seen(key: u32, by: Ranges) -> vec4<bool> {
  return (vec4u(key) >= by.first) & (vec4u(key) < by.end);
}

fn visible_scores(s: mat4x4f, key: vec4u, by: Ranges) -> mat4x4f {
  return mat4x4f(
    select(vec4f(HIDDEN), s[0] * params.scale, seen(key.x, by)),
    select(vec4f(HIDDEN), s[1] * params.scale, seen(key.y, by)),
    select(vec4f(HIDDEN), s[2] * params.scale, seen(key.z, by)),
    select(vec4f(HIDDEN), s[3] * params.scale, seen(key.w, by)),
  );
}

fn largest(s: mat4x4f) -> vec4f {
  return max(max(s[0], s[1]), max(s[2], s[3]));
}

fn total(p: mat4x4f) -> vec4f {
  return (p[0] + p[1]) + (p[2] + p[3]);
}

fn exp_less(s: mat4x4f, less: vec4f) -> mat4x4f {
  return mat4x4f(exp(s[0] - less), exp(s[1] - less), exp(s[2] - less), exp(s[3] - less));
}

// Zero where nothing was seen.
fn inverse(sum: vec4f) -> vec4f {
  return select(vec4f(), 1.0 / sum, sum > vec4f());
}

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
           @builtin(local_invocation_index) lane: u32) {
  let queries = extent(params.queries_extent);
  let here = place_of(flat_workgroup(group, groups) * LANES + lane, queries, params.heads);
  if (here.row >= queries) {
    return;
  }
  let own = within(rows_from(here.row), queries);
  let span = key_span(own);
  let end = last_seen(span);
  let quads = (params.head_dim + 3u) / 4u;
  let shared_head = key_value_head(here.head) * params.head_dim;
  let q_at = starts(own, params.q_width, params.q_start + here.head * params.head_dim);
  let y_at = starts(own, params.heads * params.head_dim, here.head * params.head_dim);
  var highest = vec4f(START);
  var sum = vec4f();
  var o0 = mat4x4f(); var o1 = mat4x4f(); var o2 = mat4x4f(); var o3 = mat4x4f();
  var o4 = mat4x4f(); var o5 = mat4x4f(); var o6 = mat4x4f(); var o7 = mat4x4f();
  var key = next_seen(span, 0u);
  var fresh = true;
  loop {
    let keys = rows_from(key);
    let k_at = starts(within(keys, end), params.kv_width, params.key_start + shared_head);
    let v_at = starts(within(keys, end), params.kv_width, params.value_start + shared_head);
    var p = mat4x4f();
    for (var quad = 0u; quad < quads; quad++) {
      p = dots(p, q_rows(q_at, quad), kv_rows(k_at, quad));
    }
    p = visible_scores(p, keys, span);
    let next = max(highest, largest(p));
    let shrink = exp(highest - next);
    p = exp_less(p, next);
    sum = sum * shrink + total(p);
    highest = next;
    key = next_seen(span, keys.x + TILE);
    if (SUMS_IN_MEMORY) {
      var finish = vec4f(1.0);
      if (key == NONE) {
        finish = inverse(sum);
      }
      for (var quad = 0u; quad < quads; quad++) {
        var so_far = mat4x4f();
        if (!fresh) {
          so_far = scaled(sum_rows(y_at, quad), shrink);
        }
        put_rows(y_at, quad, scaled(over_keys(so_far, p, kv_rows(v_at, quad)), finish));
      }
    } else {
      o0 = over_keys(scaled(o0, shrink), p, kv_rows(v_at, here.quad));
      if (has(1u)) { o1 = over_keys(scaled(o1, shrink), p, kv_rows(v_at, here.quad + 1u)); }
      if (has(2u)) { o2 = over_keys(scaled(o2, shrink), p, kv_rows(v_at, here.quad + 2u)); }
      if (has(3u)) { o3 = over_keys(scaled(o3, shrink), p, kv_rows(v_at, here.quad + 3u)); }
      if (has(4u)) { o4 = over_keys(scaled(o4, shrink), p, kv_rows(v_at, here.quad + 4u)); }
      if (has(5u)) { o5 = over_keys(scaled(o5, shrink), p, kv_rows(v_at, here.quad + 5u)); }
      if (has(6u)) { o6 = over_keys(scaled(o6, shrink), p, kv_rows(v_at, here.quad + 6u)); }
      if (has(7u)) { o7 = over_keys(scaled(o7, shrink), p, kv_rows(v_at, here.quad + 7u)); }
    }
    fresh = false;
    if (key == NONE) {
      break;
    }
  }
  if (!SUMS_IN_MEMORY) {
    let finish = inverse(sum);
    put_rows(y_at, here.quad, scaled(o0, finish));
    if (has(1u)) { put_rows(y_at, here.quad + 1u, scaled(o1, finish)); }
    if (has(2u)) { put_rows(y_at, here.quad + 2u, scaled(o2, finish)); }
    if (has(3u)) { put_rows(y_at, here.quad + 3u, scaled(o3, finish)); }
    if (has(4u)) { put_rows(y_at, here.quad + 4u, scaled(o4, finish)); }
    if (has(5u)) { put_rows(y_at, here.quad + 5u, scaled(o5, finish)); }
    if (has(6u)) { put_rows(y_at, here.quad + 6u, scaled(o6, finish)); }
    if (has(7u)) { put_rows(y_at, here.quad + 7u, scaled(o7, finish)); }
  }
  if (here.quad == 0u) {
    let lse_at = starts(own, params.heads, here.head);
    put_lse(lse_at, highest, sum);
  }
}

// A query that sees nothing has no pairs: its lse decides nothing, but it is a number.
fn put_lse(at: vec4u, highest: vec4f, sum: vec4f) {
  let found = select(vec4f(), highest + log(sum), sum > vec4f());
  lse_out[at.x] = found.x; lse_out[at.y] = found.y; lse_out[at.z] = found.z; lse_out[at.w] = found.w;
}

// One invocation a query and head.
@compute @workgroup_size(LANES)
fn backward_delta(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                  @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  if (i >= extent(params.queries_extent) * params.heads) {
    return;
  }
  let start = i * params.head_dim;
  var sum = 0.0;
  if (ALIGNED) {
    for (var f = start / 4u; f < (start + params.head_dim) / 4u; f++) {
      sum += dot(dy[f], y_saved[f]);
    }
  } else {
    for (var f = start; f < start + params.head_dim; f++) {
      sum += dy[f / 4u][f % 4u] * y_saved[f / 4u][f % 4u];
    }
  }
  stats_out[i] = vec2f(lse[i], sum);
}

// lse and δ of a tile's queries.
struct Stats {
  lse: vec4f,
  delta: vec4f,
}

fn stats_of(rows: vec4u, head: u32) -> Stats {
  let at = starts(rows, params.heads, head);
  let k = stats[at.x]; let l = stats[at.y]; let m = stats[at.z]; let n = stats[at.w];
  return Stats(vec4f(k.x, l.x, m.x, n.x), vec4f(k.y, l.y, m.y, n.y));
}

fn probabilities(s: mat4x4f, keys: vec4u, span: Ranges, saved: Stats) -> mat4x4f {
  return exp_less(visible_scores(s, keys, span), saved.lse);
}

// ds from p and dp_ij = dy_i · v_j.
fn score_gradients(p: mat4x4f, dp: mat4x4f, saved: Stats) -> mat4x4f {
  let delta = saved.delta;
  return mat4x4f(p[0] * (dp[0] - delta), p[1] * (dp[1] - delta), p[2] * (dp[2] - delta), p[3] * (dp[3] - delta))
    * params.scale;
}

@compute @workgroup_size(LANES)
fn backward_query(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                  @builtin(local_invocation_index) lane: u32) {
  let queries = extent(params.queries_extent);
  let here = place_of(flat_workgroup(group, groups) * LANES + lane, queries, params.heads);
  if (here.row >= queries) {
    return;
  }
  let own = within(rows_from(here.row), queries);
  let span = key_span(own);
  let end = last_seen(span);
  let quads = (params.head_dim + 3u) / 4u;
  let shared_head = key_value_head(here.head) * params.head_dim;
  let q_at = starts(own, params.q_width, params.q_start + here.head * params.head_dim);
  let dy_at = starts(own, params.heads * params.head_dim, here.head * params.head_dim);
  let saved = stats_of(own, here.head);
  var g0 = mat4x4f(); var g1 = mat4x4f(); var g2 = mat4x4f(); var g3 = mat4x4f();
  var g4 = mat4x4f(); var g5 = mat4x4f(); var g6 = mat4x4f(); var g7 = mat4x4f();
  var key = next_seen(span, 0u);
  var fresh = true;
  loop {
    let keys = rows_from(key);
    let k_at = starts(within(keys, end), params.kv_width, params.key_start + shared_head);
    let v_at = starts(within(keys, end), params.kv_width, params.value_start + shared_head);
    var s = mat4x4f();
    var dp = mat4x4f();
    for (var quad = 0u; quad < quads; quad++) {
      s = dots(s, q_rows(q_at, quad), kv_rows(k_at, quad));
      dp = dots(dp, dy_rows(dy_at, quad), kv_rows(v_at, quad));
    }
    let ds = score_gradients(probabilities(s, keys, span, saved), dp, saved);
    if (SUMS_IN_MEMORY) {
      for (var quad = 0u; quad < quads; quad++) {
        var so_far = mat4x4f();
        if (!fresh) {
          so_far = sum_rows(q_at, quad);
        }
        put_rows(q_at, quad, over_keys(so_far, ds, kv_rows(k_at, quad)));
      }
    } else {
      g0 = over_keys(g0, ds, kv_rows(k_at, here.quad));
      if (has(1u)) { g1 = over_keys(g1, ds, kv_rows(k_at, here.quad + 1u)); }
      if (has(2u)) { g2 = over_keys(g2, ds, kv_rows(k_at, here.quad + 2u)); }
      if (has(3u)) { g3 = over_keys(g3, ds, kv_rows(k_at, here.quad + 3u)); }
      if (has(4u)) { g4 = over_keys(g4, ds, kv_rows(k_at, here.quad + 4u)); }
      if (has(5u)) { g5 = over_keys(g5, ds, kv_rows(k_at, here.quad + 5u)); }
      if (has(6u)) { g6 = over_keys(g6, ds, kv_rows(k_at, here.quad + 6u)); }
      if (has(7u)) { g7 = over_keys(g7, ds, kv_rows(k_at, here.quad + 7u)); }
    }
    fresh = false;
    key = next_seen(span, keys.x + TILE);
    if (key == NONE) {
      break;
    }
  }
  if (!SUMS_IN_MEMORY) {
    put_rows(q_at, here.quad, g0);
    if (has(1u)) { put_rows(q_at, here.quad + 1u, g1); }
    if (has(2u)) { put_rows(q_at, here.quad + 2u, g2); }
    if (has(3u)) { put_rows(q_at, here.quad + 3u, g3); }
    if (has(4u)) { put_rows(q_at, here.quad + 4u, g4); }
    if (has(5u)) { put_rows(q_at, here.quad + 5u, g5); }
    if (has(6u)) { put_rows(q_at, here.quad + 6u, g6); }
    if (has(7u)) { put_rows(q_at, here.quad + 7u, g7); }
  }
}

// An invocation's rows are keys here, and it goes through all query heads that share its head: no sum is left over.
@compute @workgroup_size(LANES)
fn backward_key(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                @builtin(local_invocation_index) lane: u32) {
  let keys = extent(params.keys_extent);
  let here = place_of(flat_workgroup(group, groups) * LANES + lane, keys, params.key_value_heads);
  if (here.row >= keys) {
    return;
  }
  let own = within(rows_from(here.row), keys);
  let seen_by = query_span(own);
  let end = last_seen(seen_by);
  let quads = (params.head_dim + 3u) / 4u;
  let k_at = starts(own, params.kv_width, params.key_start + here.head * params.head_dim);
  let v_at = starts(own, params.kv_width, params.value_start + here.head * params.head_dim);
  let sharing = params.heads / params.key_value_heads;
  var g0 = mat4x4f(); var g1 = mat4x4f(); var g2 = mat4x4f(); var g3 = mat4x4f();
  var h0 = mat4x4f(); var h1 = mat4x4f(); var h2 = mat4x4f(); var h3 = mat4x4f();
  var fresh = true;
  for (var head = here.head * sharing; head < (here.head + 1u) * sharing; head++) {
    var query = next_seen(seen_by, 0u);
    loop {
      let met = rows_from(query);
      let queries = within(met, end);
      let known = key_span(queries);
      // The doubles of the last row see nothing: it counts once.
      let span = Ranges(known.first, select(vec4u(), known.end, met < vec4u(end)));
      let saved = stats_of(queries, head);
      let q_at = starts(queries, params.q_width, params.q_start + head * params.head_dim);
      let dy_at = starts(queries, params.heads * params.head_dim, head * params.head_dim);
      var s = mat4x4f();
      var dp = mat4x4f();
      for (var quad = 0u; quad < quads; quad++) {
        s = dots(s, q_rows(q_at, quad), kv_rows(k_at, quad));
        dp = dots(dp, dy_rows(dy_at, quad), kv_rows(v_at, quad));
      }
      let p = probabilities(s, own, span, saved);
      let ds = score_gradients(p, dp, saved);
      if (SUMS_IN_MEMORY) {
        for (var quad = 0u; quad < quads; quad++) {
          var dk = mat4x4f();
          var dv = mat4x4f();
          if (!fresh) {
            dk = sum_rows(k_at, quad);
            dv = sum_rows(v_at, quad);
          }
          put_rows(k_at, quad, over_queries(dk, ds, q_rows(q_at, quad)));
          put_rows(v_at, quad, over_queries(dv, p, dy_rows(dy_at, quad)));
        }
      } else {
        g0 = over_queries(g0, ds, q_rows(q_at, here.quad));
        if (has(1u)) { g1 = over_queries(g1, ds, q_rows(q_at, here.quad + 1u)); }
        if (has(2u)) { g2 = over_queries(g2, ds, q_rows(q_at, here.quad + 2u)); }
        if (has(3u)) { g3 = over_queries(g3, ds, q_rows(q_at, here.quad + 3u)); }
        h0 = over_queries(h0, p, dy_rows(dy_at, here.quad));
        if (has(1u)) { h1 = over_queries(h1, p, dy_rows(dy_at, here.quad + 1u)); }
        if (has(2u)) { h2 = over_queries(h2, p, dy_rows(dy_at, here.quad + 2u)); }
        if (has(3u)) { h3 = over_queries(h3, p, dy_rows(dy_at, here.quad + 3u)); }
      }
      fresh = false;
      query = next_seen(seen_by, met.x + TILE);
      if (query == NONE) {
        break;
      }
    }
  }
  if (!SUMS_IN_MEMORY) {
    put_rows(k_at, here.quad, g0);
    if (has(1u)) { put_rows(k_at, here.quad + 1u, g1); }
    if (has(2u)) { put_rows(k_at, here.quad + 2u, g2); }
    if (has(3u)) { put_rows(k_at, here.quad + 3u, g3); }
    put_rows(v_at, here.quad, h0);
    if (has(1u)) { put_rows(v_at, here.quad + 1u, h1); }
    if (has(2u)) { put_rows(v_at, here.quad + 2u, h2); }
    if (has(3u)) { put_rows(v_at, here.quad + 3u, h3); }
  }
}

// Runs before the others, with the rows and width of either gradient as those of q.
@compute @workgroup_size(LANES)
fn backward_clear(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                  @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  if (i < extent(params.queries_extent) * params.q_width) {
    sums[i] = 0.0;
  }
}
