/**
 * Trainable state: parameters, gradients, first and second moments are four arenas of one layout. Each tensor is
 * aligned to 256 bytes; an arena is cut into chunks only where the device's binding limit asks for it. The
 * optimizer walks whole chunks, so its launches do not grow with the number of modules. Constants that a kernel
 * reaches together with parameters follow them in their chunk; the other three arenas end before them.
 */
import { GraftError } from "../base/errors.ts";
import { blockBytes, type Gpu } from "../gpu/device.ts";
import type { ArenaPlace, Value } from "./value.ts";

export interface ArenaTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly place: ArenaPlace;
}

type Unplaced = Omit<ArenaTensor, "place">;

function blocksOf(shape: readonly number[]): number {
  return blockBytes(4 * shape.reduce((product, size) => product * size, 1));
}

/** Where each tensor lies, known before anything is allocated. */
export class ArenaLayout {
  readonly tensors = new Map<string, ArenaTensor>();
  /** Of what trains. */
  readonly chunkBytes: number[] = [];
  readonly constants = new Map<string, ArenaTensor>();
  /** Of the constants that follow in each chunk of parameters. */
  readonly constantBytes: number[] = [];
  private readonly maxChunk: number;
  private readonly waiting: (Unplaced & { readonly chunk: number })[] = [];

  /** `maxChunk`: the device's binding limit in bytes. */
  constructor(maxChunk: number) {
    this.maxChunk = maxChunk;
  }

  /**
   * Places tensors that one kernel reaches through one binding: they share a chunk. `constants` share it too, and get
   * their places by `placeConstants`.
   */
  placeTogether(tensors: readonly Unplaced[], constants: readonly Unplaced[] = []): ArenaTensor[] {
    const sizes = tensors.map(({ shape }) => blocksOf(shape));
    const room = constants.reduce((sum, { shape }) => sum + blocksOf(shape), 0);
    const total = sizes.reduce((sum, size) => sum + size, room);
    if (total > this.maxChunk) {
      throw new GraftError(
        "tensor-too-large",
        `${tensors[0]?.name} takes ${total} trainable bytes together with what it shares a kernel with; this device binds ${this.maxChunk} at most.`,
        "Use a lower rank, or leave the module out of modules_to_save.",
      );
    }
    const last = this.chunkBytes.length - 1;
    if (last < 0 || this.chunkBytes[last]! + this.constantBytes[last]! + total > this.maxChunk) {
      this.chunkBytes.push(0);
      this.constantBytes.push(0);
    }
    const chunk = this.chunkBytes.length - 1;
    this.constantBytes[chunk]! += room;
    this.waiting.push(...constants.map((constant) => ({ ...constant, chunk })));
    return tensors.map((tensor, i) => {
      if (this.tensors.has(tensor.name)) throw new GraftError("arena", `${tensor.name} was placed twice.`);
      const placed = { ...tensor, place: { chunk, byteOffset: this.chunkBytes[chunk]! } };
      this.chunkBytes[chunk]! += sizes[i]!;
      this.tensors.set(tensor.name, placed);
      return placed;
    });
  }

  /** Gives constants their places, once all that trains has its own. */
  placeConstants(): void {
    const ends = [...this.chunkBytes];
    for (const { chunk, ...constant } of this.waiting.splice(0)) {
      const place = { chunk, byteOffset: ends[chunk]! };
      this.constants.set(constant.name, { ...constant, place });
      ends[chunk]! += blocksOf(constant.shape);
    }
  }

  place(name: string, shape: readonly number[]): ArenaTensor {
    return this.placeTogether([{ name, shape }])[0]!;
  }

  /** Bytes of one of the four arenas, without constants. */
  bytes(): number {
    return this.chunkBytes.reduce((sum, bytes) => sum + bytes, 0);
  }

  /** Bytes of all constants. */
  constantsTotal(): number {
    return this.constantBytes.reduce((sum, bytes) => sum + bytes, 0);
  }

  elements(): number {
    let count = 0;
    for (const { shape } of this.tensors.values())
      count += shape.reduce((product, size) => product * size, 1);
    return count;
  }

  /** The parameter group of each 256-byte block of a chunk, by tensors' names. Gaps are in group 0; they stay zero. */
  groupOfBlocks(chunk: number, groupOf: (name: string) => number): Uint32Array {
    const groups = new Uint32Array(this.chunkBytes[chunk]! / 256);
    for (const { name, shape, place } of this.tensors.values()) {
      if (place.chunk !== chunk) continue;
      const blocks = blocksOf(shape) / 256;
      groups.fill(groupOf(name), place.byteOffset / 256, place.byteOffset / 256 + blocks);
    }
    return groups;
  }
}

export type ArenaRole = "parameters" | "gradients" | "firstMoment" | "secondMoment";

/** After so many bytes `readAll` begins another reading. */
const READ_BYTES = 16 * 2 ** 20;

/** The arenas on the device. */
export class Arenas {
  readonly layout: ArenaLayout;
  readonly chunks: Readonly<Record<ArenaRole, readonly GPUBuffer[]>>;
  private readonly gpu: Gpu;

  /** Without `trains` there are parameters alone. */
  constructor(gpu: Gpu, layout: ArenaLayout, { trains }: { readonly trains: boolean } = { trains: true }) {
    this.gpu = gpu;
    this.layout = layout;
    const make = (role: ArenaRole, purpose: "adapter" | "optimizer") =>
      layout.chunkBytes.map((bytes, i) => {
        const constants = role === "parameters" ? layout.constantBytes[i]! : 0;
        return gpu.create(`${role} ${i}`, bytes + constants, purpose);
      });
    const ofTraining = (role: ArenaRole) => (trains ? make(role, "optimizer") : []);
    this.chunks = {
      parameters: make("parameters", "adapter"),
      gradients: ofTraining("gradients"),
      firstMoment: ofTraining("firstMoment"),
      secondMoment: ofTraining("secondMoment"),
    };
  }

  /** Gives a traced parameter (and its gradient) its place on the device. */
  bind(parameter: Value): void {
    const { place, shape, gradient } = parameter;
    if (!place) throw new GraftError("arena", `${parameter.name} has no place in the arenas.`);
    const size = 4 * shape.reduce<number>((product, dim) => product * (dim as number), 1);
    const range = { offset: place.byteOffset, size };
    parameter.storage = { buffer: this.chunks.parameters[place.chunk]!, ...range };
    if (gradient) gradient.storage = { buffer: this.chunks.gradients[place.chunk]!, ...range };
  }

  write(role: ArenaRole, name: string, elements: Float32Array): void {
    const { place, shape } = this.tensor(name);
    const wanted = shape.reduce((product, size) => product * size, 1);
    if (elements.length !== wanted) {
      throw new GraftError("arena", `${name}: ${elements.length} values were given for shape [${shape}].`);
    }
    const buffer = this.chunks[role][place.chunk]!;
    this.gpu.device.queue.writeBuffer(buffer, place.byteOffset, elements as Float32Array<ArrayBuffer>);
  }

  async read(role: ArenaRole, name: string): Promise<Float32Array> {
    const { place, shape } = this.tensor(name);
    const size = 4 * shape.reduce((product, length) => product * length, 1);
    return new Float32Array(
      await this.gpu.read({ buffer: this.chunks[role][place.chunk]!, offset: place.byteOffset, size }),
    );
  }

  /** All parameters and constants, some of them at a time. */
  async *readAll(): AsyncGenerator<[name: string, elements: Float32Array]> {
    const placed = [...this.layout.tensors.values(), ...this.layout.constants.values()];
    for (const [chunk, buffer] of this.chunks.parameters.entries()) {
      const rest = placed.filter(({ place }) => place.chunk === chunk);
      while (rest.length > 0) {
        const start = rest[0]!.place.byteOffset;
        const ahead = rest.findIndex(({ place }, i) => i > 0 && place.byteOffset - start >= READ_BYTES);
        const some = rest.splice(0, ahead === -1 ? rest.length : ahead);
        const end = rest[0]?.place.byteOffset ?? buffer.size;
        const bytes = await this.gpu.read({ buffer, offset: start, size: end - start });
        for (const { name, shape, place } of some) {
          const count = shape.reduce((product, length) => product * length, 1);
          yield [name, new Float32Array(bytes, place.byteOffset - start, count)];
        }
      }
    }
  }

  destroy(): void {
    for (const role of Object.values(this.chunks)) for (const buffer of role) this.gpu.destroy(buffer);
  }

  private tensor(name: string): ArenaTensor {
    const tensor = this.layout.tensors.get(name) ?? this.layout.constants.get(name);
    if (!tensor) throw new GraftError("arena", `There is no tensor "${name}" in the arenas.`);
    return tensor;
  }
}
